// Command tarn is a node of a Tarn grid and everything that is done with one:
// make it, run it, store files and get them back, give accounts and see who
// uses what. `tarn demo` shows all of it on one machine.
//
// Each command is a file with an options struct and a function
// run…(ctx, env, options); flags, configuration and key files are read here
// and nowhere else. Commands that need a running node reach it over its
// control socket (web/control). What fails is told in a sentence on standard
// error, and by an exit code (exit.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal ends the process at once
	e := &env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		terminal: term.IsTerminal(int(os.Stderr.Fd())), typed: term.IsTerminal(int(os.Stdin.Fd())),
		columns: columns,
	}
	code := execute(ctx, e, os.Args[1:])
	stop()
	os.Exit(code)
}

// columns is how wide the terminal is at which a person looks, 0 if that is not known.
func columns() int {
	width, _, err := term.GetSize(int(os.Stderr.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, e *env, args []string) int {
	root := newRoot(e)
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var failed *runError
	if errors.As(err, &failed) {
		err = failed.err
	} else {
		err = usageError{err, command.CommandPath()}
	}
	tell(e.stderr, err)
	return exitCode(err)
}

// tell writes the error as "tarn: sentence", and what to do next, if there is
// something, on a line of its own.
func tell(w io.Writer, err error) {
	text := strings.TrimRight(err.Error(), "\n")
	_, _ = fmt.Fprintf(w, "tarn: %s\n", strings.Map(forTerminal, text))
	if hint := adviceFor(err); hint != "" {
		_, _ = fmt.Fprintf(w, "%s\n", hint)
	}
}

// forTerminal keeps what a terminal would take for commands out of a sentence
// that repeats what somebody gave.
func forTerminal(r rune) rune {
	if unicode.IsControl(r) && r != '\n' && r != '\t' {
		return unicode.ReplacementChar
	}
	return r
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:   "tarn",
		Short: "A storage grid: files go in encrypted and in pieces, and come back whole",
		Long: `Tarn stores files on servers that need not be trusted. A file is encrypted
and cut into shares, any few of which give it back; whoever has its capability
can read it, and each server knows which account pays for what it keeps.

Try it with nothing but this machine: tarn demo

` + exitHelp,
		Example:       "  tarn demo\n  tarn create-client --introducer REF\n  tarn run",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().StringVarP(&e.dirFlag, "node-directory", "d", "", "the node's folder (default ~/.tarn)")
	addCommands(root, "Start here:", newDemo(e), newCreateClient(e), newCreateNode(e), newRun(e), newStatus(e), newServers(e))
	addCommands(root, "Files and directories:", newPut(e), newGet(e), newLs(e), newCp(e), newMv(e), newLn(e), newUnlink(e), newMkdir(e), newBackup(e), newRestore(e), newWebopen(e),
		newCreateAlias(e), newAddAlias(e), newListAliases(e), newCap(e))
	addCommands(root, "What becomes of them:", newCheck(e), newDeepCheck(e), newStats(e), newManifest(e), newLeases(e), newKeep(e), newCancel(e), newReconcile(e), newUsage(e), newRenewalCap(e), newRepairCap(e))
	addCommands(root, "Accounts and who may use them:", newClient(e), newAuthority(e), newSign(e), newUser(e))
	addCommands(root, "For operators:", newServer(e), newShare(e), newManager(e), newAggregator(e), newRenewer(e), newRepairer(e),
		newCreateIntroducer(e), newCreateManager(e), newCreateAggregator(e), newCreateHelper(e), newCreateRelay(e), newCreateRenewer(e), newCreateRepairer(e))
	root.AddCommand(newVersion(e))
	return root
}

// Help lists commands as they are given.
func init() { cobra.EnableCommandSorting = false }

// addCommands adds commands below a heading of their own: what is wanted most comes
// first.
func addCommands(root *cobra.Command, heading string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: heading, Title: heading})
	for _, c := range commands {
		c.GroupID = heading
	}
	root.AddCommand(commands...)
}

// runError marks what a command itself reports; all else that cobra returns
// is about the command line.
type runError struct{ err error }

func (r *runError) Error() string { return r.err.Error() }

// action makes a command's function into cobra's.
func action(run func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, args []string) error {
		if err := run(command.Context(), args); err != nil {
			return &runError{err}
		}
		return nil
	}
}

// group is a command that only has commands below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		return fmt.Errorf("%s what?", use)
	}}
	c.AddCommand(commands...)
	return c
}

// anyNumber of arguments is more than a command line can have.
const anyNumber = 1 << 20

// between wants at least and at most so many arguments, none of them empty: an
// empty one is a variable of a script that has nothing in it.
func between(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if n := len(args); n < least || n > most {
			return fmt.Errorf("wrong number of arguments, %d; it is: %s", n, c.UseLine())
		}
		if slices.Contains(args, "") {
			return fmt.Errorf("an argument is empty; it is: %s", c.UseLine())
		}
		return nil
	}
}

// flagError says in words what is wrong with a flag's value.
func flagError(_ *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	want, known := map[string]string{"int": "a whole number", "bool": "true or false", "duration": "a time such as 36h or 90m"}[bad.GetFlag().Value.Type()]
	switch {
	case errors.Is(err, strconv.ErrRange):
		want = "a number that is not so large"
	case !known:
		return err
	}
	return fmt.Errorf("--%s %q: want %s", bad.GetFlag().Name, bad.GetValue(), want)
}
