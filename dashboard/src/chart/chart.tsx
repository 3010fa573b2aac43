import type { ECharts, EChartsCoreOption } from "echarts/core";
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { type Table, toCsv } from "../lib/csv";
import { type Colours, colours } from "../lib/theme";
import { DataTable } from "./data-table";
import { type Entry, fileName, pictureOf, RATIO, save } from "./export";
import { baseOf } from "./theme";

interface Props {
  /** Heading of the card. It may have a keyword in it. */
  title: string;
  /** Which data these are. The picture's title and the names of the files have it after the heading. */
  context: string;
  /** What stands beside the heading. */
  aside?: ComponentChildren;
  /** One sentence that says what the chart shows, for screen readers. */
  summary: string;
  /** The chart's data. They are its table, and its CSV file. */
  table: Table;
  /** The legend of the picture; on the page, `children` has it. */
  legend?: readonly Entry[];
  /** What is in the chart: its series have ids, so that an update changes them in place. It is what all charts have. */
  option: (colours: Colours) => EChartsCoreOption;
  /** What to say in place of the chart; null to draw it. */
  empty?: string | null;
  class?: string;
  children?: ComponentChildren;
}

/** A longer table is made only when it is asked for, because each update would make it again. */
const MOST_HIDDEN_ROWS = 60;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** A chart in a card: with a picture and a file of its data, and a table for those who cannot see it. */
export function Chart({
  title,
  context,
  aside,
  summary,
  table,
  legend,
  option,
  empty,
  class: extra = "",
  children,
}: Props) {
  const id = useId();
  const canvas = useRef<HTMLDivElement>(null);
  const chart = useRef<ECharts | null>(null);
  const [isReady, setReady] = useState(false);
  const [isTable, setTable] = useState(false);
  const look = colours.value;
  const isEmpty = Boolean(empty);

  useEffect(() => {
    const element = canvas.current;
    if (!element || isEmpty) return;
    let isGone = false;
    const observer = new ResizeObserver(() => chart.current?.resize());
    import("./echarts").then(({ init }) => {
      if (isGone) return;
      chart.current = init(element, null, { renderer: "canvas" });
      observer.observe(element);
      setReady(true);
    });
    return () => {
      isGone = true;
      observer.disconnect();
      chart.current?.dispose();
      chart.current = null;
      setReady(false);
    };
  }, [isEmpty]);

  useEffect(() => {
    if (!isReady) return;
    const base = baseOf(look, calm.matches);
    const own = option(look) as Record<string, object>;
    chart.current?.setOption(
      { ...base, ...own, tooltip: { ...base.tooltip, ...own.tooltip } },
      { replaceMerge: ["series"] },
    );
  }, [isReady, option, look]);

  const savePng = () => {
    const drawn = chart.current?.renderToCanvas({ pixelRatio: RATIO, backgroundColor: look.paper });
    if (!drawn) return;
    const picture = pictureOf(drawn, `${title} · ${context}`, legend ?? [], look);
    picture.toBlob((blob) => blob && save(blob, fileName(`${title} ${context}`, "png")), "image/png");
  };
  const saveCsv = () =>
    save(new Blob(["\ufeff", toCsv(table)], { type: "text/csv" }), fileName(`${title} ${context}`, "csv"));

  return (
    <section class={`card chart ${extra}`} aria-labelledby={id}>
      <header class="card-head">
        <h2 id={id}>
          <bdi dir="auto">{title}</bdi>
        </h2>
        {aside}
        <div class="tools">
          <button type="button" aria-pressed={isTable} onClick={() => setTable(!isTable)}>
            Table
          </button>
          <button type="button" disabled={isEmpty} onClick={savePng}>
            PNG
          </button>
          <button type="button" disabled={isEmpty} onClick={saveCsv}>
            CSV
          </button>
        </div>
      </header>
      {isEmpty ? (
        <p class="nothing">{empty}</p>
      ) : (
        <div class="chart-body">
          <div class="canvas" ref={canvas} role="img" aria-label={summary} data-ready={isReady} />
          {children}
        </div>
      )}
      {!isEmpty && (isTable || table.rows.length <= MOST_HIDDEN_ROWS) && (
        <div
          class={isTable ? "table-wrap" : "visually-hidden"}
          // A region that scrolls must be reachable by keyboard.
          {...(isTable && { role: "region", tabIndex: 0, "aria-label": `${title}, table` })}
        >
          <DataTable caption={title} table={table} />
        </div>
      )}
    </section>
  );
}
