// The flags that the Go programs take, in their spelling: `-name value`, `--name=value`.

const defaults = {
  listen: "127.0.0.1:0",
  path: "/socket.io/",
  "ping-interval": "25000",
  "ping-timeout": "20000",
  "connect-timeout": "45000",
  cors: "",
  old: "false",
  recovery: "",
  parser: "",
};

export function flags(args) {
  const given = { ...defaults };
  for (let i = 0; i < args.length; i++) {
    const match = /^--?([a-z-]+)(?:=(.*))?$/s.exec(args[i]);
    if (!match || !(match[1] in defaults)) throw new Error(`unknown flag: ${args[i]}`);
    given[match[1]] = match[2] ?? (match[1] === "old" ? "true" : args[++i]);
  }
  const engine = {
    pingInterval: Number(given["ping-interval"]),
    pingTimeout: Number(given["ping-timeout"]),
    maxHttpBufferSize: 1_000_000,
    allowEIO3: given.old === "true",
    destroyUpgrade: false,
    ...(given.cors && { cors: { origin: given.cors, credentials: true } }),
  };
  return { ...given, engine, recovery: duration(given.recovery) };
}

// duration reads what Go calls one: "90s", "2m", "500ms", "1m30s". Nothing gives 0.
function duration(text) {
  if (text === "" || text === "0") return 0;
  if (!/^(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) throw new Error(`not a duration: ${text}`);
  const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  return [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce((sum, [, n, unit]) => sum + Number(n) * units[unit], 0);
}

// serve listens and says so in one line.
export function serve(server, address) {
  const colon = address.lastIndexOf(":");
  server.listen(Number(address.slice(colon + 1)), address.slice(0, colon), () => {
    console.log(`listening on http://${server.address().address}:${server.address().port}`);
  });
}
