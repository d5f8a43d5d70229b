// Command bench checks the performance budgets: it starts a server on one
// processor core, drives it from another, and prints one line for each budget.
//
// Beside processor time stands its floor, measured in turn with the server: a
// program that does the bare work of the same conversation, with the same bytes
// and the same generator. See docs/benchmarks.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"time"

	"github.com/skein-realtime/skein/internal/term"
)

func main() {
	var b bench
	flag.BoolVar(&b.quick, "quick", false, "fewer connections and shorter intervals")
	flag.StringVar(&b.only, "only", "", "run only the check of this name; see --list")
	file := flag.String("json", "", "write the lines to this file as JSON")
	flag.StringVar(&b.profiles, "profiles", "", "write a CPU profile of the server for each measurement to this folder")
	flag.StringVar(&b.table, "markdown", "", "write the lines to this file as a table in Markdown")
	flag.StringVar(&b.disk, "disk", os.TempDir(), "log: keep the stores in a folder in this one, which decides whose disk is measured")
	flag.StringVar(&b.database, "database", "", "log, push, chat: URL of an empty PostgreSQL database, to measure it too")
	flag.IntVar(&b.users, "users", 0, "push: users; 0: 300,000")
	flag.IntVar(&b.receipts, "receipts", 0, "push: records that are there when they are asked for; 0: those of four campaigns")
	list := flag.Bool("list", false, "list the names of the checks")
	flag.Parse()
	if *list {
		for _, c := range checks() {
			fmt.Println(c.name)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.main(ctx, *file); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		if errors.Is(err, errMissed) {
			os.Exit(6)
		}
		os.Exit(1)
	}
}

var errMissed = errors.New("a budget was missed")

// check is one group of budgets that are measured together.
type check struct {
	name string
	run  func(context.Context, *bench) error
}

func checks() []check {
	return []check{
		{"connections", connections},
		{"fanout", fanout},
		{"overload", overload},
		{"publish", publish},
		{"channels", channels},
		{"log", logs},
		{"socketio", socketIO},
		{"gateway", gateway},
		{"documents", documents},
		{"push", pushes},
		{"chat", chats},
	}
}

// bench is one run.
type bench struct {
	quick    bool
	only     string
	profiles string
	table    string
	disk     string
	database string
	receipts int
	users    int
	programs string // folder of the programs that are measured
	secret   string
	key      string
	lines    []line
}

// pick gives a value for a full run or a quick one.
func pick[T any](b *bench, full, quick T) T {
	if b.quick {
		return quick
	}
	return full
}

// line is one budget and how it was met.
type line struct {
	Name     string  `json:"name"`
	Unit     string  `json:"unit"`
	Measured float64 `json:"measured"`
	Floor    float64 `json:"floor,omitempty"`
	Ratio    float64 `json:"ratio,omitempty"`     // measured / floor
	Budget   float64 `json:"budget,omitempty"`    // of the measured value; 0 where Exact or MaxRatio is meant
	MaxRatio float64 `json:"max_ratio,omitempty"` // of the ratio
	Least    float64 `json:"least,omitempty"`     // what must be measured at least
	Pass     bool    `json:"pass"`
	Note     string  `json:"note,omitempty"`
	none     bool    // the budget is really zero
}

// report judges a line and prints it.
func (b *bench) report(l line) {
	l.Pass = (l.Budget == 0 && !l.none || l.Measured <= l.Budget) && l.Measured >= l.Least
	if l.Floor > 0 {
		l.Ratio = l.Measured / l.Floor
		l.Pass = l.Pass && (l.MaxRatio == 0 || l.Ratio <= l.MaxRatio)
	}
	b.lines = append(b.lines, l)
	c, style := l.cells(), term.StyleOf(os.Stdout, os.Getenv)
	paint := style.Red
	if l.Pass {
		paint = style.Green
	}
	fmt.Printf("%-52s %9s %-3s  floor %6s  ratio %6s  %-28s %s", l.Name, fixed(l.Measured), l.Unit, c.floor, c.ratio, c.budget, paint(c.verdict))
	if l.Note != "" {
		fmt.Printf("  %s", style.Faint(l.Note))
	}
	fmt.Println()
}

func (b *bench) main(ctx context.Context, file string) error {
	if err := pinSelf(generatorCore); err != nil {
		return fmt.Errorf("pinning to a core: %w", err)
	}
	runtime.GOMAXPROCS(1)
	defer func() { _ = os.RemoveAll(b.programs) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	begun := time.Now()
	busy, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return err
	}
	before, _, _ := strings.Cut(string(busy), " ")
	fmt.Printf("%s, %s, server and generator on a core each; load average before the run %s\n", runtime.Version(), kernel(), before)
	ran := false
	for _, c := range checks() {
		if b.only != "" && b.only != c.name {
			continue
		}
		ran = true
		if err := c.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if !ran {
		return fmt.Errorf("there is no check %q", b.only)
	}
	missed := 0
	for _, l := range b.lines {
		if !l.Pass {
			missed++
		}
	}
	fmt.Printf("%d budgets, %d missed, in %s\n", len(b.lines), missed, time.Since(begun).Round(time.Second))
	if err := b.write(file); err != nil {
		return err
	}
	if missed > 0 {
		return errMissed
	}
	return nil
}

// write writes the files that were asked for.
func (b *bench) write(file string) error {
	if file != "" {
		text, err := json.MarshalIndent(b.lines, "", "  ")
		if err == nil {
			err = os.WriteFile(file, append(text, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	if b.table == "" {
		return nil
	}
	var t strings.Builder
	t.WriteString("| what | measured | floor | ratio | budget | | more |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, l := range b.lines {
		c := l.cells()
		fmt.Fprintf(&t, "| %s | %s %s | %s | %s | %s | %s | %s |\n", l.Name, number(l.Measured), l.Unit, c.floor, c.ratio, c.budget, c.verdict, l.Note)
	}
	return os.WriteFile(b.table, []byte(t.String()), 0o644)
}

// number shows a number for people, who do not read exponents.
func number(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// fixed is number with as many digits for all that are small.
func fixed(v float64) string {
	if v >= 1000 {
		return number(v)
	}
	return fmt.Sprintf("%.3f", v)
}

// cells are the parts of a line as they are shown.
type cells struct{ floor, ratio, budget, verdict string }

func (l *line) cells() cells {
	c := cells{floor: "-", ratio: "-", verdict: "FAIL"}
	if l.Pass {
		c.verdict = "pass"
	}
	if l.Floor > 0 {
		c.floor, c.ratio = fixed(l.Floor), fmt.Sprintf("%.2fx", l.Ratio)
	}
	var budget []string
	if l.Budget != 0 || l.none {
		budget = append(budget, strings.TrimSpace(fmt.Sprintf("at most %.4g %s", l.Budget, l.Unit)))
	}
	if l.Least != 0 {
		budget = append(budget, fmt.Sprintf("at least %.6g %s", l.Least, l.Unit))
	}
	if l.MaxRatio != 0 {
		budget = append(budget, fmt.Sprintf("at most %.2fx", l.MaxRatio))
	}
	c.budget = strings.Join(budget, ", ")
	return c
}
