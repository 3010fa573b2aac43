/** The hatches as paths in a square of 12 by 12, for swatches in HTML and in pictures. */
export const HATCH_PATHS: Readonly<Record<string, string>> = {
  rising: "M-2 10L10 -2M2 14L14 2M-6 6L6 -6",
  falling: "M-2 2L10 14M2 -2L14 10M-2 -2L14 14",
  level: "M0 3H12M0 9H12",
  upright: "M3 0V12M9 0V12",
  crossed: "M0 0L12 12M12 0L0 12M6 0L12 6M0 6L6 12M6 0L0 6M12 6L6 12",
  dotted: "M3 3h.01M9 3h.01M6 6h.01M3 9h.01M9 9h.01",
};

export const hatchWidth = (hatch: string): number => (hatch === "dotted" ? 2 : 1.3);
