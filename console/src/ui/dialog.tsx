// Dialogs: the browser's own element, so that focus stays inside and Escape closes it.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { t } from "../words.ts";
import { Button, ErrorNote, Text, useRun } from "./parts.tsx";

export function Dialog({ title, onClose, children, wide }: { title: string; onClose: () => void; children: ComponentChildren; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    ref.current?.showModal();
    // What one came for, not the button that closes it.
    ref.current?.querySelector<HTMLElement>(".form :is(input, select, textarea), .dialog-foot button")?.focus();
    return () => before?.isConnected && before.focus();
  }, []);
  return (
    <dialog ref={ref} class={wide ? "dialog wide" : "dialog"} aria-label={title} onClose={onClose} onCancel={(e) => { e.preventDefault(); onClose(); }}>
      <header class="dialog-head"><h2>{title}</h2><button type="button" class="icon" aria-label={t("do.close")} onClick={onClose}>✕</button></header>
      {children}
    </dialog>
  );
}

// Form is a dialog with fields: Enter sends it, an error stays until the next try, and it
// closes when what it does has been done.
export function Form({ title, action, danger, onClose, run, children, disabled, wide }: { title: string; action: string; danger?: boolean; onClose: () => void; run: () => Promise<void>; children: ComponentChildren; disabled?: boolean; wide?: boolean }) {
  const it = useRun();
  const submit = async (e: Event) => {
    e.preventDefault();
    if (!disabled && await it.run(run)) onClose();
  };
  return (
    <Dialog title={title} onClose={onClose} wide={wide ?? false}>
      <form onSubmit={submit} class="form">
        {children}
        <ErrorNote error={it.error} />
        <footer class="dialog-foot">
          <Button onClick={onClose}>{t("do.cancel")}</Button>
          <Button type="submit" kind={danger ? "danger" : "main"} busy={it.busy} disabled={disabled}>{action}</Button>
        </footer>
      </form>
    </Dialog>
  );
}

// Confirm asks before something that cannot be taken back; with word, that has to be typed.
export function Confirm({ title, text, action, word, onClose, run }: { title: string; text: ComponentChildren; action: string; word?: string; onClose: () => void; run: () => Promise<void> }) {
  const [typed, setTyped] = useState("");
  return (
    <Form title={title} action={action} danger onClose={onClose} run={run} disabled={word !== undefined && typed !== word}>
      <p>{text}</p>
      {word !== undefined && <Text label={t("confirm.type", { word })} value={typed} onChange={setTyped} />}
    </Form>
  );
}
