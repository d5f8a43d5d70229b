import { connect } from "@skein-realtime/client";
import { SkeinProvider, useChannel, useDocument, useInbox, usePresence, useSkein } from "@skein-realtime/client/react";

const skein = connect(location.origin, { user: new URL(location).searchParams.get("user") });

function Score() {
  const [gold = 0, game] = useDocument("game:42", (value) => value?.gold);
  return <button id="gold" onClick={() => game.inc("/gold")}>{gold}</button>;
}

function Chat() {
  const { messages, publish } = useChannel("room:7");
  return (
    <>
      <ul id="log">{messages.map(({ id, data }) => <li key={id}>{data}</li>)}</ul>
      <button id="say" onClick={() => publish("message", "Hello")}>Say hello</button>
    </>
  );
}

function Who() {
  const { members } = usePresence("room:7");
  return <p id="who">{members.map(({ user }) => user).join(", ")}</p>;
}

function Bell() {
  const { messages, unread = 0, read } = useInbox({ limit: 20 });
  return <button id="bell" title={messages.at(-1)?.event} onClick={() => read()}>{unread}</button>;
}

function State() {
  return <p id="state">{useSkein().state}</p>;
}

export const App = () => (
  <SkeinProvider skein={skein}>
    <State />
    <Score />
    <Chat />
    <Who />
    <Bell />
  </SkeinProvider>
);
