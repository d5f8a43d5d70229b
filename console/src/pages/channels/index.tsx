import type { PageProps } from "../../pages.tsx";
import { All } from "./all.tsx";
import { One } from "./one.tsx";
import "../../style/data.css";

export function Channels({ rest, query }: PageProps) {
  return rest[0] ? <One key={rest[0]} name={rest[0]} query={query} /> : <All query={query} />;
}
