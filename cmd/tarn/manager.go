package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/web/control"
)

func newManager(e *env) *cobra.Command {
	return group("manager", "What an account manager's operator does",
		newAddMember(e), newReissue(e), newListMembers(e), newSetMemberQuota(e), newSetUntil(e), newRemoveMember(e), newExportMembers(e),
		newAddServer(e), newRemoveServer(e), newListServers(e), newUsageAuthority(e))
}

// withManager does something with the folder's account manager, whether or not
// its node runs.
func (e *env) withManager(ctx context.Context, do func(tarn.Manager) error) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	if err := do(n.Manager()); !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	loaded, err := f.load(nil)
	if err != nil {
		return err
	}
	offline, err := tarn.OpenManager(ctx, loaded.config)
	if err != nil {
		return err
	}
	return errors.Join(do(offline), offline.Close())
}

type addMemberOptions struct{ name, quota, until, claimUntil string }

func newAddMember(e *env) *cobra.Command {
	var o addMemberOptions
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a membership and print what the member joins with",
		Long: `Makes a membership and prints its reference: a secret text that works for the
first client that joins with it (tarn client join), and the only thing that the
member needs. It can't be printed again, and ends unless somebody joins with it in
time (tarn manager reissue makes another). The node may run or not.

The quota is what the member may store on each server, shares and their
overhead, rounded up to 1, 2 or 5 times a power of ten; TIME is a date such as
2027-01-31 or a duration such as 365d; the last cards end at the midnight after
it, in UTC.`,
		Example: "  tarn manager add --quota 50GB --until 2027-12-31 alice > alice.membership",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name = args[0]
			return runAddMember(ctx, e, o)
		}),
	}
	c.Flags().StringVar(&o.quota, "quota", "", "how much the member may store on each server, such as 50GB (default no limit)")
	c.Flags().StringVar(&o.until, "until", "", "when the membership ends, such as 2027-12-31 (default never)")
	registerClaim(c, &o.claimUntil)
	return c
}

func runAddMember(ctx context.Context, e *env, o addMemberOptions) error {
	if err := checkPetname(o.name); err != nil {
		return err
	}
	quota, err := optionalQuota(o.quota)
	if err != nil {
		return err
	}
	until, err := optionalUntil(o.until)
	if err != nil {
		return err
	}
	claimUntil, err := claimEnd(o.claimUntil)
	if err != nil {
		return err
	}
	return e.withManager(ctx, func(m tarn.Manager) error {
		member, ref, err := m.Add(ctx, o.name, quota, until, claimUntil)
		if err != nil {
			return fmt.Errorf("add the member %s: %w", o.name, err)
		}
		return e.handOver(member, ref)
	})
}

// handOver prints what a member joins with.
func (e *env) handOver(member membership.Member, ref tarn.MembershipRef) error {
	text, err := ref.Text()
	if err != nil {
		return fmt.Errorf("write the reference: %w", err)
	}
	by := "at any time"
	if member.ClaimUntil != 0 {
		by = "until " + clock(time.Unix(member.ClaimUntil, 0))
	}
	e.note("%s may join with this %s, quota %s on each server, %s. It is a secret until then.", member.Name, by, formatQuota(member.Quota), untilText(member.Until))
	return e.print("%s\n", text)
}

func registerClaim(c *cobra.Command, text *string) {
	c.Flags().StringVar(text, "claim-until", "", "until when somebody may join with it, such as 14d, or never (default 28d)")
}

// claimEnd is until when somebody may join, in Unix seconds; 0 is never.
func claimEnd(text string) (int64, error) {
	switch text {
	case "":
		return time.Now().Add(membership.ClaimPeriod).Unix(), nil
	case "never":
		return 0, nil
	}
	until, err := parseUntil(text, time.Now())
	return until.Unix(), err
}

type reissueOptions struct {
	name, claimUntil string
	another          bool
}

func newReissue(e *env) *cobra.Command {
	var o reissueOptions
	c := &cobra.Command{
		Use:   "reissue NAME",
		Short: "Print another reference for a member",
		Long: `Makes another reference for a member who has not joined yet, on the same terms: the
one before works no more. A member who has joined needs none, and is refused one:
his client joins again with the one he had.

With --another-account the membership goes to whoever joins with it next, for a
member who lost his account. The account that has it gets no newer cards; those that
are out end within 60 days, and until then there are two.`,
		Example: "  tarn manager reissue alice > alice.membership\n  tarn manager reissue --another-account alice > alice.membership",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.name = args[0]
			return runReissue(ctx, e, o)
		}),
	}
	registerClaim(c, &o.claimUntil)
	c.Flags().BoolVar(&o.another, "another-account", false, "the account that has the membership loses it")
	return c
}

func runReissue(ctx context.Context, e *env, o reissueOptions) error {
	claimUntil, err := claimEnd(o.claimUntil)
	if err != nil {
		return err
	}
	return e.withManager(ctx, func(m tarn.Manager) error {
		member, ref, err := m.Reissue(ctx, o.name, claimUntil, o.another)
		if err != nil {
			return fmt.Errorf("make another reference: %w", err)
		}
		return e.handOver(member, ref)
	})
}

// optionalQuota is a quota that need not be given; empty is no limit.
func optionalQuota(text string) (*int64, error) {
	if text == "" {
		return nil, nil
	}
	return quotaOf(text)
}

// optionalUntil is an end that need not be given, in Unix seconds; empty and
// never are none.
func optionalUntil(text string) (*int64, error) {
	if text == "" || text == "never" {
		return nil, nil
	}
	until, err := parseUntil(text, time.Now())
	if err != nil {
		return nil, err
	}
	return new(until.Unix()), nil
}

func untilText(until *int64) string {
	if until == nil {
		return "without end"
	}
	return "until " + clock(time.Unix(*until, 0))
}

type changeMemberOptions struct{ name, value string }

func newSetMemberQuota(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "set-quota NAME SIZE|none",
		Short: "Change how much a member may store on each server",
		Long: `Changes the quota of the cards that are made from now on. The member's client
fetches newer cards within days; cards that are out keep their quota until they
end, within 60 days.`,
		Example: "  tarn manager set-quota alice 100GB",
		Args:    between(2, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			return runSetMemberQuota(ctx, e, changeMemberOptions{args[0], args[1]})
		}),
	}
}

func runSetMemberQuota(ctx context.Context, e *env, o changeMemberOptions) error {
	quota, err := quotaOf(o.value)
	if err != nil {
		return err
	}
	return e.withManager(ctx, func(m tarn.Manager) error {
		if err := m.SetQuota(ctx, o.name, quota); err != nil {
			return fmt.Errorf("change the quota: %w", err)
		}
		if quota != nil {
			return e.print("the quota of %s is now %s on each server\n", o.name, formatSize(lease.PlanSize(*quota)))
		}
		return nil
	})
}

func newSetUntil(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "set-until NAME TIME|never",
		Short:   "Change when a membership ends",
		Long:    `Changes when the cards end that are made from now on; those that are out keep their end.`,
		Example: "  tarn manager set-until alice 2028-12-31",
		Args:    between(2, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			return runSetUntil(ctx, e, changeMemberOptions{args[0], args[1]})
		}),
	}
}

func runSetUntil(ctx context.Context, e *env, o changeMemberOptions) error {
	until, err := optionalUntil(o.value)
	if err != nil {
		return err
	}
	return e.withManager(ctx, func(m tarn.Manager) error {
		if err := m.SetUntil(ctx, o.name, until); err != nil {
			return fmt.Errorf("change the end: %w", err)
		}
		return nil
	})
}

func newRemoveMember(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "End a membership",
		Long: `Forgets the member, who gets no newer cards. Those that are out end within 60
days; tarn manager export before this has the member's key for each server, whose
operator can revoke it at once.`,
		Example: "  tarn manager remove alice",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			return runRemoveMember(ctx, e, changeMemberOptions{name: args[0]})
		}),
	}
}

func runRemoveMember(ctx context.Context, e *env, o changeMemberOptions) error {
	return e.withManager(ctx, func(m tarn.Manager) error {
		if err := m.Remove(ctx, o.name); err != nil {
			return fmt.Errorf("remove the member: %w", err)
		}
		return e.print("%s gets no more cards; those that are out end by %s at the latest\n", o.name, clock(time.Unix(lease.CardUntil(time.Now()), 0)))
	})
}

type gridServerOptions struct{ id, name string }

func newAddServer(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "add-server SERVER [NAME]",
		Short: "Make a storage server one of the grid",
		Long: `Makes SERVER, v0-..., known to all members as one of the grid: their clients get
cards for it and place new shares there. Its operator must accept the account
manager's key, which tarn status shows.`,
		Example: "  tarn manager add-server v0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa cellar",
		Args:    between(1, 2),
		RunE: action(func(ctx context.Context, args []string) error {
			o := gridServerOptions{id: args[0]}
			if len(args) > 1 {
				o.name = args[1]
			}
			return runAddServer(ctx, e, o)
		}),
	}
}

func runAddServer(ctx context.Context, e *env, o gridServerOptions) error {
	id, err := grid.ParseServerID(o.id)
	if err != nil {
		return err
	}
	return e.withManager(ctx, func(m tarn.Manager) error {
		if err := m.AddServer(ctx, membership.Server{ID: id, Name: o.name}); err != nil {
			return fmt.Errorf("add the server: %w", err)
		}
		return nil
	})
}

func newRemoveServer(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "remove-server SERVER",
		Short: "Take a storage server out of the grid",
		Long: `Members place no new shares on SERVER from when their clients hear of it, and get
no newer cards for it. What lies there stays until its leases end.`,
		Example: "  tarn manager remove-server v0-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			return runRemoveServer(ctx, e, gridServerOptions{id: args[0]})
		}),
	}
}

func runRemoveServer(ctx context.Context, e *env, o gridServerOptions) error {
	id, err := grid.ParseServerID(o.id)
	if err != nil {
		return err
	}
	return e.withManager(ctx, func(m tarn.Manager) error {
		if err := m.RemoveServer(ctx, id); err != nil {
			return fmt.Errorf("remove the server: %w", err)
		}
		return nil
	})
}

func newUsageAuthority(e *env) *cobra.Command {
	var until string
	c := &cobra.Command{
		Use:   "usage-authority",
		Short: "Let a usage aggregator read what the members hold",
		Long: `Makes a fresh key that may read at every server what the members hold, and
nothing else, and prints it as an authority: a secret to hand to whoever runs the
aggregator (tarn create-aggregator). It is kept nowhere.`,
		Example: "  tarn manager usage-authority > usage.authority",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runUsageAuthority(ctx, e, until) }),
	}
	c.Flags().StringVar(&until, "until", "", "when it ends, such as 2027-12-31 or 365d (default never)")
	return c
}

func runUsageAuthority(ctx context.Context, e *env, text string) error {
	until, err := optionalUntil(text)
	if err != nil {
		return err
	}
	return e.withManager(ctx, func(m tarn.Manager) error {
		authority, err := m.UsageAuthority(ctx, until)
		if err != nil {
			return fmt.Errorf("make an authority: %w", err)
		}
		return e.print("%s", authority)
	})
}
