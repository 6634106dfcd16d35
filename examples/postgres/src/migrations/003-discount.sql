-- Applied twice it would be a fifth.
UPDATE invoice SET cents = cents * 9 / 10;
