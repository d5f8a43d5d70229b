import "./style/tokens.css";
import "./style/base.css";
import "./style/shell.css";
import "./style/parts.css";
import "./style/tables.css";
import "./style/print.css";
import { render } from "preact";
import { App } from "./shell/app.tsx";

render(<App />, document.getElementById("app")!);
