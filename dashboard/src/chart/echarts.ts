// The part of ECharts that the page uses. It is loaded after the first view shows. Legends are HTML, and so are the
// descriptions for screen readers: they cost less, and texts in them are isolated.
import { BarChart, LineChart, PieChart } from "echarts/charts";
import { GridComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";

use([LineChart, BarChart, PieChart, GridComponent, TooltipComponent, MarkLineComponent, CanvasRenderer]);

export { init };
