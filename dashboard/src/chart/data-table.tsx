import type { Cell, Table } from "../lib/csv";
import { count } from "../lib/format";
import { Text } from "../ui/text";

/** A table of a chart's data. An unknown value is a dash. */
export function DataTable({ caption, table }: { caption: string; table: Table }) {
  return (
    <table>
      <caption class="visually-hidden">
        <Text>{caption}</Text>
      </caption>
      <thead>
        <tr>
          {table.columns.map((column) => (
            <th scope="col" key={column}>
              <Text>{column}</Text>
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {table.rows.map((row) => (
          <tr key={row[0]}>
            {row.map((cell, index) =>
              index ? (
                <td key={table.columns[index]}>{shown(cell)}</td>
              ) : (
                <th scope="row" key={table.columns[index]}>
                  {shown(cell)}
                </th>
              ),
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function shown(cell: Cell) {
  if (cell === null) return <span title="no data">–</span>;
  return typeof cell === "number" ? count(cell) : <Text>{cell}</Text>;
}
