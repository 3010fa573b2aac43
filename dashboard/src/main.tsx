import "./styles/page.css";
import { render } from "preact";
import { App, isView } from "./app";
import { startRouter } from "./lib/location";
import { startTheme } from "./lib/theme";
import { startLive } from "./live/live";

startTheme();
startRouter(isView);
startLive();
const root = document.getElementById("app");
if (root) render(<App />, root);
