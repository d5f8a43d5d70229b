package auth

import (
	"fmt"
	"slices"
)

// Class is what running a verb means to whoever looks back later.
type Class uint8

// The classes. What is not in the table is a Write: better a line too many in the
// audit log than one that is missing.
const (
	Write   Class = iota // changes how things are; whoever did it is written down
	Traffic              // what an application sends all day, which has records of its own
	Read                 // changes nothing
)

// String gives the class's name.
func (c Class) String() string {
	switch c {
	case Read:
		return "read"
	case Traffic:
		return "traffic"
	}
	return "write"
}

// Role is what a user of the console may do. The zero value may nothing.
type Role uint8

// The roles; each may also what those before it may.
const (
	NoRole Role = iota
	Viewer
	Operator
	Admin
)

var roleNames = [...]string{"", "viewer", "operator", "admin"}

// RoleNames are the names of all roles, the least first.
func RoleNames() []string { return slices.Clone(roleNames[1:]) }

// ParseRole reads the name of a role.
func ParseRole(text string) (Role, error) {
	if i := slices.Index(roleNames[:], text); i > 0 {
		return Role(i), nil
	}
	return NoRole, fmt.Errorf("%.40q is not one of viewer, operator, admin", text)
}

// String gives the role's name.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("Role(%d)", uint8(r))
}

// Allows tells whether a verb may be run. One that is not in the table is for admins.
func (r Role) Allows(verb string) bool {
	if r > Admin {
		return false
	}
	v, known := verbs[verb]
	if !known {
		return r == Admin
	}
	return r >= v.least
}

// ClassOf tells what running a verb means.
func ClassOf(verb string) Class { return verbs[verb].class }

// TraceVerb stands in the table for following frames, which is no verb.
const TraceVerb = "trace"

// TableOfVerbs gives the names of the table, sorted.
func TableOfVerbs() []string {
	names := make([]string, 0, len(verbs))
	for name := range verbs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// verbs is the one table of what verbs mean and who may run them. A verb that the
// server gets anew gets a line here; a test of the server holds the table against
// its registry.
var verbs = map[string]struct {
	class Class
	least Role
}{
	// Messages and documents.
	"publish":     {Traffic, Operator},
	"recall":      {Traffic, Operator},
	"history":     {Read, Viewer},
	"doc.get":     {Read, Viewer},
	"doc.history": {Read, Viewer},
	"doc.put":     {Traffic, Operator},
	"doc.patch":   {Traffic, Operator},
	"doc.undo":    {Traffic, Operator},
	"doc.delete":  {Traffic, Operator},

	// Connections and channels.
	"channels":      {Read, Viewer},
	"presence":      {Read, Viewer},
	"online":        {Read, Viewer},
	"connections":   {Read, Viewer},
	"session.get":   {Read, Viewer},
	"session.set":   {Traffic, Operator},
	"session.merge": {Traffic, Operator},
	"subscribe":     {Traffic, Operator},
	"unsubscribe":   {Traffic, Operator},
	"bind":          {Traffic, Operator},
	"unbind":        {Traffic, Operator},
	"call":          {Traffic, Operator},
	"disconnect":    {Write, Operator},
	TraceVerb:       {Read, Operator},

	// Members and conversations.
	"members.list":   {Read, Viewer},
	"members.count":  {Read, Viewer},
	"members.groups": {Read, Viewer},
	"members.add":    {Traffic, Operator},
	"members.remove": {Traffic, Operator},
	"conversations":  {Read, Viewer},
	"chat.get":       {Read, Viewer},
	"chat.members":   {Read, Viewer},
	"chat.blocked":   {Read, Viewer},
	"chat.invite":    {Traffic, Operator},
	"chat.join":      {Traffic, Operator},
	"chat.leave":     {Traffic, Operator},
	"chat.remove":    {Traffic, Operator},
	"chat.mark":      {Traffic, Operator},
	"chat.edit":      {Traffic, Operator},
	"chat.create":    {Write, Operator},
	"chat.set":       {Write, Operator},
	"chat.role":      {Write, Operator},
	"chat.delete":    {Write, Operator},
	"chat.alerts":    {Write, Operator},
	"chat.block":     {Write, Operator},

	// Users, and who is not let in.
	"users.get":     {Read, Viewer},
	"users.query":   {Read, Viewer},
	"users.blocked": {Read, Viewer},
	"users.put":     {Traffic, Operator},
	"users.delete":  {Write, Admin},
	"users.block":   {Write, Operator},
	"users.unblock": {Write, Operator},
	"tokens.revoke": {Write, Operator},

	// Pushes, their categories and campaigns.
	"inbox.list":         {Read, Viewer},
	"records":            {Read, Viewer},
	"explain":            {Read, Viewer},
	"push":               {Traffic, Operator},
	"inbox.mark":         {Traffic, Operator},
	"categories.list":    {Read, Viewer},
	"categories.put":     {Write, Admin},
	"categories.delete":  {Write, Admin},
	"categories.mute":    {Write, Operator},
	"campaigns.get":      {Read, Viewer},
	"campaigns.list":     {Read, Viewer},
	"campaigns.estimate": {Read, Viewer},
	"campaigns.create":   {Write, Operator},
	"campaigns.add":      {Write, Operator},
	"campaigns.start":    {Write, Operator},
	"campaigns.pause":    {Write, Operator},
	"campaigns.resume":   {Write, Operator},
	"campaigns.cancel":   {Write, Operator},
	"campaigns.recall":   {Write, Operator},
	"campaigns.delete":   {Write, Operator},

	// Schedules.
	"schedules.get":    {Read, Viewer},
	"schedules.list":   {Read, Viewer},
	"schedules.put":    {Write, Operator},
	"schedules.delete": {Write, Operator},
	"schedules.run":    {Write, Operator},
	"schedules.pause":  {Write, Operator},
	"schedules.resume": {Write, Operator},

	// The server itself.
	"info":         {Read, Viewer},
	"stats":        {Read, Viewer},
	"stats.series": {Read, Viewer},
	"problems":     {Read, Viewer},
	"hooks.list":   {Read, Viewer},
	"settings":     {Read, Operator},
	"audit":        {Read, Admin},
	"console.link": {Write, Admin},
}
