import type { PageProps } from "../../pages.tsx";
import { One } from "./one.tsx";
import { All } from "./all.tsx";
import "../../style/data.css";

export function Connections({ rest, query }: PageProps) {
  return rest[0] ? <One key={rest[0]} id={rest[0]} query={query} /> : <All query={query} />;
}
