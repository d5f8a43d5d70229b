// Users: all that are known, one of them, and one message of one.

import type { PageProps } from "../../pages.tsx";
import "../../style/people.css";
import { MessagePage } from "./message.tsx";
import { UserPage } from "./user.tsx";
import { UsersPage } from "./list.tsx";

export function Users({ rest, query }: PageProps) {
  const [id, part, message] = rest;
  if (id === undefined) return <UsersPage query={query} />;
  if (part === "messages" && message !== undefined) return <MessagePage key={`${id} ${message}`} user={id} message={message} />;
  return <UserPage key={id} id={id} query={query} />;
}
