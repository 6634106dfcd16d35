-- Half of it done would be worse than nothing: it goes into one transaction.
INSERT INTO invoice (customer_id, cents) SELECT id, round(balance_euros * 100) FROM customer WHERE balance_euros > 0;
ALTER TABLE customer DROP COLUMN balance_euros;
