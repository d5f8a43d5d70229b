import { connect } from "@skein-realtime/client";
import { conversations } from "@skein-realtime/client/chat";
import {
  SkeinProvider, useChannel, useConversation, useConversations, useDocument, useInbox, usePresence, useSkein,
} from "@skein-realtime/client/react";

const skein = connect(location.origin, { user: new URL(location).searchParams.get("user") });
const chat = conversations(skein);

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

function Conversations() {
  const { conversations, unread } = useConversations();
  return <ul id="talks" title={unread}>{conversations.map(({ channel, last }) => <li key={channel}>{last?.data}</li>)}</ul>;
}

function Team() {
  const { messages, send, conversation } = useConversation("team:rockets");
  return (
    <>
      <ul id="team">{messages.map(({ key, id, data, state }) => <li key={key ?? id} className={state}>{data}</li>)}</ul>
      <button id="tell" onClick={() => send("Lift off")}>Tell the team</button>
      <button id="seen" onClick={() => conversation?.read()}>Seen</button>
    </>
  );
}

function State() {
  return <p id="state">{useSkein().state}</p>;
}

export const App = () => (
  <SkeinProvider skein={skein} chat={chat}>
    <State />
    <Score />
    <Chat />
    <Who />
    <Bell />
    <Conversations />
    <Team />
  </SkeinProvider>
);
