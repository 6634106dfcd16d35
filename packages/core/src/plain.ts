/** Characters that move a cursor, colour a screen or turn a line around: C0, DEL, C1, and those that lay text out from right to left. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Text from elsewhere, made safe for a terminal and a log: on one line, and a terminal obeys nothing in it. */
export function plain(text: string): string {
  // A joiner between emoji is part of their spelling.
  return text.replace(UNSAFE, (character) => (character === '\u200d' ? character : escaped(character)));
}

function escaped(character: string): string {
  const short = { '\n': String.raw`\n`, '\r': String.raw`\r`, '\t': String.raw`\t` }[character];
  return short ?? `\\u{${character.codePointAt(0)!.toString(16)}}`;
}
