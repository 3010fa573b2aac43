/** Addresses of views with something in them. Pure. */

/** Returns the address of a keyword's view of now. */
export const keywordUrl = (keyword: string): string => `/?${new URLSearchParams({ keyword })}`;

/** Returns the address that compares keywords. */
export const compareUrl = (keywords: readonly string[]): string =>
  `/compare?${new URLSearchParams(keywords.map((keyword) => ["keyword", keyword]))}`;
