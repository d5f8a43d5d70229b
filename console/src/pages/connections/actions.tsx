// What can be done with a connection, each in a dialog.

import { useState } from "preact/hooks";
import { call } from "../../api.ts";
import { t } from "../../words.ts";
import { Confirm, Form } from "../../ui/dialog.tsx";
import { JsonField, readJson } from "../../ui/json.tsx";
import { Check, Text, toast } from "../../ui/parts.tsx";

interface Doing {
  id: string;
  onClose: () => void;
  done: () => void;
}

interface Count {
  connections: number;
}

export function Subscribe({ id, onClose, done }: Doing) {
  const [channel, setChannel] = useState("");
  const run = async () => {
    const got = await call<Count>("subscribe", { connection: id, channel: channel.trim() });
    toast(t(got.connections > 0 ? "connections.subscribed" : "connections.subscribed.before"));
    done();
  };
  return (
    <Form title={t("connections.subscribe.title")} action={t("connections.subscribe")} onClose={onClose} run={run} disabled={!channel.trim()}>
      <Text label={t("word.channel")} hint={t("connections.subscribe.hint")} value={channel} onChange={setChannel} autofocus />
    </Form>
  );
}

export function Unsubscribe({ id, channel, onClose, done }: Doing & { channel: string }) {
  const run = async () => {
    await call<Count>("unsubscribe", { connection: id, channel });
    toast(t("connections.unsubscribed"));
    done();
  };
  return <Confirm title={t("connections.unsubscribe.title")} text={t("connections.unsubscribe.text", { channel })} action={t("connections.unsubscribe")} onClose={onClose} run={run} />;
}

export function Bind({ id, user: before, device: was, onClose, done }: Doing & { user: string; device: string }) {
  const [user, setUser] = useState(before);
  const [device, setDevice] = useState(was);
  const run = async () => {
    await call("bind", { connection: id, user, ...(device ? { device } : {}) });
    toast(t("connections.bound", { user }));
    done();
  };
  return (
    <Form title={t("connections.bind.title")} action={t("connections.bind")} onClose={onClose} run={run} disabled={!user}>
      <p class="soft">{t("connections.bind.text")}</p>
      <Text label={t("word.user")} value={user} onChange={setUser} autofocus />
      <Text label={t("connections.device.optional")} value={device} onChange={setDevice} />
    </Form>
  );
}

export function Unbind({ id, user, onClose, done }: Doing & { user: string }) {
  const run = async () => {
    await call("unbind", { connection: id, user });
    toast(t("connections.unbound"));
    done();
  };
  return <Confirm title={t("connections.unbind.title")} text={t("connections.unbind.text", { user })} action={t("connections.unbind")} onClose={onClose} run={run} />;
}

export function Disconnect({ id, onClose, done }: Doing) {
  const [code, setCode] = useState("");
  const [message, setMessage] = useState("");
  const [event, setEvent] = useState("");
  const [data, setData] = useState("");
  const [reconnect, setReconnect] = useState(false);
  const last = data.trim() ? readJson(data) : undefined;
  const wrong = (last !== undefined && last.value === undefined) || (!last && event.trim() !== "");
  const run = async () => {
    await call<Count>("disconnect", {
      connection: id, ...(code ? { code: Number(code) } : {}), ...(message ? { message } : {}), ...(reconnect ? { reconnect } : {}),
      ...(last ? { last: { ...(event.trim() ? { event: event.trim() } : {}), data: last.value } } : {}),
    });
    toast(t("connections.disconnected"));
    done();
  };
  return (
    <Form title={t("connections.disconnect.title")} action={t("connections.disconnect")} danger onClose={onClose} run={run} disabled={wrong}>
      <Text label={t("connections.message")} hint={t("connections.message.hint")} value={message} onChange={setMessage} autofocus />
      <Text label={t("connections.code")} hint={t("connections.code.hint")} type="number" min={4000} max={4999} step={1} value={code} onChange={setCode} />
      <Check label={t("connections.reconnect")} value={reconnect} onChange={setReconnect} />
      <fieldset class="part">
        <legend>{t("connections.last")}</legend>
        <Text label={t("connections.last.event")} hint={t("publish.event.hint")} value={event} onChange={setEvent} />
        <JsonField label={t("publish.data")} value={data} onChange={setData} rows={3} error={wrong && !last ? t("connections.last.data") : undefined} />
      </fieldset>
    </Form>
  );
}
