import { call } from "../../api.ts";
import { bytes, compact, number, seconds } from "../../format.ts";
import { useLive, type Live } from "../../live.ts";
import { may } from "../../session.ts";
import type { PageProps } from "../../pages.tsx";
import { t } from "../../words.ts";
import { Badge, Card, Facts, Page, Stale, Stat, Waiting } from "../../ui/parts.tsx";
import { Table } from "../../ui/table.tsx";
import { Charts } from "./charts.tsx";
import { Problems } from "./problems.tsx";
import { useSeries, type Point } from "./series.ts";
import "../../style/operations.css";

interface Node {
  name: string;
  state: string;
  connections: number;
}

interface Info {
  version: string;
  go: string;
  uptime: number;
  pid: number;
  nodes: Node[];
}

interface Stats {
  connections: number;
  users: number;
  channels: number;
  published: number;
  deliveries: number;
  dropped: number;
  bytes_in: number;
  bytes_out: number;
  goroutines: number;
  memory: number;
  uptime?: number;
  store?: { kind?: string; bytes?: number; messages?: number };
}

// Figures are those of the newest second; before there is one, what the counters tell.
function Figures({ stats, newest, version }: { stats: Stats | undefined; newest: Point | undefined; version: string | undefined }) {
  const of = (value: number | undefined) => (value === undefined ? "–" : compact(value));
  const store = stats?.store;
  return (
    <div class="stats ops-figures">
      <Stat label={t("overview.connections")} value={number(stats?.connections)} />
      <Stat label={t("overview.users")} value={number(stats?.users)} note={t("overview.users.note")} />
      <Stat label={t("overview.channels")} value={number(stats?.channels)} note={t("overview.channels.note")} />
      <Stat label={t("overview.in")} value={of(newest?.messages_in)} note={t("overview.persecond")} />
      <Stat label={t("overview.out")} value={of(newest?.messages_out)} note={t("overview.persecond")} />
      <Stat label={t("overview.memory")} value={stats ? bytes(stats.memory) : "–"} note={t("overview.memory.note")} />
      <Stat label={t("overview.store")} value={store?.bytes === undefined ? (stats ? t("overview.store.none") : "–") : bytes(store.bytes)} note={store?.kind === "sqlite" ? "SQLite" : store?.kind === "postgres" ? "PostgreSQL" : store?.kind} />
      <Stat label={t("overview.uptime")} value={stats?.uptime === undefined ? "–" : seconds(Math.floor(stats.uptime))} note={version && t("overview.version.n", { version })} />
    </div>
  );
}

function Nodes({ of: it }: { of: Live<Info> }) {
  const info = it.data.value;
  return (
    <Card title={t("overview.nodes")} flush={info !== undefined}>
      <Stale of={it} />
      {!info && !it.error.value && <Waiting />}
      {info && <Table label={t("overview.nodes")} rows={info.nodes} rowKey={(n) => n.name} columns={[
        { name: t("overview.node"), cell: (n) => <strong>{n.name}</strong>, grow: true },
        { name: t("word.state"), cell: (n) => <Badge tone={n.state === "up" ? "good" : "warn"}>{n.state === "up" ? t("overview.state.up") : n.state === "draining" ? t("overview.state.draining") : n.state}</Badge> },
        { name: t("overview.connections"), cell: (n) => number(n.connections), end: true },
      ]} />}
    </Card>
  );
}

function Counters({ stats, info }: { stats: Stats | undefined; info: Info | undefined }) {
  if (!stats) return null;
  return (
    <Card title={t("overview.sincestart")}>
      <Facts of={[
        [t("overview.process"), info ? `${info.pid} · ${info.go}` : "–"],
        [t("overview.published"), number(stats.published)], [t("overview.deliveries"), number(stats.deliveries)], [t("overview.missed"), number(stats.dropped)],
        [t("overview.bytes"), `${bytes(stats.bytes_in)} / ${bytes(stats.bytes_out)}`], [t("overview.goroutines"), number(stats.goroutines)],
      ]} />
    </Card>
  );
}

export function Overview(_: PageProps) {
  const stats = useLive((signal) => call<Stats>("stats", {}, { signal }), 2000);
  const info = useLive((signal) => call<Info>("info", {}, { signal }), 5000);
  const series = useSeries();
  const points = series.data.value;
  return (
    <Page title={t("overview.title")}>
      {may("problems") && <Problems />}
      <Stale of={stats} />
      <Figures stats={stats.data.value} newest={points?.at(-1)} version={info.data.value?.version} />
      <h2 class="ops-part">{t("overview.charts")}</h2>
      <Stale of={series} />
      <Charts points={points} />
      <div class="grid ops-under"><Nodes of={info} /><Counters stats={stats.data.value} info={info.data.value} /></div>
    </Page>
  );
}
