package transfer_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/tarn-grid/tarn/file/placement"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
)

// start is when every script begins.
var start = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// script is what one testdata file acts on. It answers a line, one event, by
// lines of what is to be done.
type script interface {
	line(words []string) []string
}

// runScripts runs every file in a folder of testdata. Each command (its name
// says what happens, for the reader) has events, one each line; the output
// repeats them with their effects below.
func runScripts(t *testing.T, folder string, fresh func() script) {
	datadriven.Walk(t, "testdata/"+folder, func(t *testing.T, path string) {
		s := fresh()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				line = strings.TrimSpace(line)
				fmt.Fprintln(&out, line)
				for _, effect := range s.line(strings.Fields(line)) {
					fmt.Fprintln(&out, "    "+effect)
				}
			}
			return out.String()
		})
	})
}

// Servers are called by letters, UEB hashes by words.
func serverID(name string) grid.ServerID { return grid.ServerID{name[0]} }
func letter(id grid.ServerID) string     { return string(id[0]) }
func hash(word string) (h [32]byte)      { copy(h[:], word); return h }

func serverIDs(letters string) (ids []grid.ServerID) {
	for _, l := range letters {
		ids = append(ids, serverID(string(l)))
	}
	return ids
}

func number(word string) int {
	n, err := strconv.Atoi(word)
	if err != nil {
		panic(err)
	}
	return n
}

func shareNum(word string) grid.ShareNum { return grid.ShareNum(number(word)) }

func duration(word string) time.Duration {
	d, err := time.ParseDuration(word)
	if err != nil {
		panic(err)
	}
	return d
}

// options reads words like key=value.
func options(words []string) map[string]string {
	m := map[string]string{}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		m[k] = v
	}
	return m
}

// reasons are why servers were given up, in the order of their letters.
func reasons(m map[grid.ServerID]error) string {
	var all []string
	for id, err := range m {
		all = append(all, letter(id)+": "+err.Error())
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

var errScripted = errors.New("no, says the server")

// uploadScript drives an Upload. Verbs:
//
//	new servers=abc happy=2 total=3 [size=100] [whole] [known=UEB]
//	repair servers=abc happy=2 total=3 known=UEB [SERVER:ROOM[:SHARE,badSHARE,...]]...
//	holds SERVER [room=N] [SHARE:UEB...] | no-answer SERVER
//	taken|refused|lost|leased SERVER SHARE | stored|here SERVER SHARE UEB
//	moving SERVER SHARE HAVE | owed SERVER SHARE
//	kept SERVER SHARE UEB | broken SERVER SHARE
//	down SERVER | up SERVER | encoded UEB | after TIME | cancel
type uploadScript struct {
	u   *transfer.Upload
	now time.Time
}

func (s *uploadScript) line(w []string) []string {
	switch w[0] {
	case "new", "repair":
		o := options(w[1:])
		size := 100
		if o["size"] != "" {
			size = number(o["size"])
		}
		_, whole := o["whole"]
		s.now = start
		spec := transfer.UploadSpec{
			ShareSize: uint64(size), Happy: number(o["happy"]), Total: number(o["total"]), Order: serverIDs(o["servers"]),
			Whole: whole, AnswerPatience: 15 * time.Second, LinkPatience: 30 * time.Second, PullPatience: time.Minute, PullFloor: 50,
		}
		if o["known"] != "" {
			spec.Known = new(hash(o["known"]))
		}
		if w[0] == "repair" {
			spec.Repair = survey(w[1:], o["servers"])
		}
		s.u = transfer.NewUpload(spec)
		return uploadEffects(s.u.Start())
	case "cancel":
		return uploadEffects(s.u.Cancel())
	case "after":
		s.now = s.now.Add(duration(w[1]))
		return uploadEffects(s.u.Step(s.now, transfer.Tick{}))
	}
	return uploadEffects(s.u.Step(s.now, uploadEvent(w)))
}

// survey is what a check found: at servers in the order, and at others.
func survey(words []string, order string) *transfer.Repair {
	r := &transfer.Repair{At: map[grid.ServerID]transfer.Surveyed{}}
	for _, w := range words {
		name, said, ok := strings.Cut(w, ":")
		if !ok {
			continue
		}
		room, shares, _ := strings.Cut(said, ":")
		var nums, bad []grid.ShareNum
		for _, n := range strings.FieldsFunc(shares, func(r rune) bool { return r == ',' }) {
			if damaged, ok := strings.CutPrefix(n, "bad"); ok {
				bad = append(bad, shareNum(damaged))
			} else {
				nums = append(nums, shareNum(n))
			}
		}
		if strings.Contains(order, name) {
			r.At[serverID(name)] = transfer.Surveyed{Good: nums, Bad: bad, Room: uint64(number(room))}
		} else {
			r.Kept = append(r.Kept, placement.Server{ID: serverID(name), Shares: nums})
		}
	}
	return r
}

func uploadEvent(w []string) transfer.UploadEvent {
	id := serverID(w[1])
	switch w[0] {
	case "holds":
		return holds(id, w[2:])
	case "no-answer":
		return transfer.NoAnswer{Server: id, Err: errScripted}
	case "down":
		return transfer.LinkDown{Server: id}
	case "up":
		return transfer.LinkUp{Server: id}
	case "encoded":
		return transfer.Encoded{UEBHash: hash(w[1])}
	}
	n := shareNum(w[2])
	switch w[0] {
	case "taken":
		return transfer.Taken{Server: id, Num: n}
	case "stored":
		return transfer.Taken{Server: id, Num: n, Stored: true, UEBHash: hash(w[3])}
	case "here":
		return transfer.Here{Server: id, Num: n, UEBHash: hash(w[3])}
	case "leased":
		return transfer.Leased{Server: id, Num: n}
	case "refused", "lost":
		return transfer.Refused{Server: id, Num: n, Err: errScripted, LinkLost: w[0] == "lost"}
	case "passed":
		return transfer.PassedOn{Server: id, Num: n, To: serverID(w[3])}
	case "moving":
		return transfer.Moving{Server: id, Num: n, Have: uint64(number(w[3]))}
	case "owed":
		return transfer.Owed{Server: id, Num: n}
	case "kept":
		return transfer.Kept{Server: id, Num: n, UEBHash: hash(w[3])}
	case "broken":
		return transfer.Kept{Server: id, Num: n, Err: errScripted}
	}
	panic("no such verb: " + w[0])
}

func holds(id grid.ServerID, words []string) transfer.Holds {
	h := transfer.Holds{Server: id, Room: 1000, Shares: map[grid.ShareNum][32]byte{}}
	for _, w := range words {
		if room, ok := strings.CutPrefix(w, "room="); ok {
			h.Room = uint64(number(room))
			continue
		}
		n, ueb, _ := strings.Cut(w, ":")
		h.Shares[shareNum(n)] = hash(ueb)
	}
	return h
}

func uploadEffects(effects []transfer.UploadEffect) (lines []string) {
	for _, e := range effects {
		lines = append(lines, uploadEffect(e))
	}
	return lines
}

func uploadEffect(e transfer.UploadEffect) string {
	switch e := e.(type) {
	case transfer.Ask:
		return "ask " + letter(e.Server)
	case transfer.Try:
		return fmt.Sprintf("try %s %d", letter(e.Server), e.Num)
	case transfer.Offer:
		return fmt.Sprintf("offer %s %d", letter(e.Server), e.Num)
	case transfer.Lease:
		return fmt.Sprintf("lease %s %d", letter(e.Server), e.Num)
	case transfer.Withdraw:
		return fmt.Sprintf("withdraw %s %d", letter(e.Server), e.Num)
	case transfer.Encode:
		return "encode"
	case transfer.Finished:
		text := fmt.Sprintf("finished:%s, %d pushed, %d found, happiness %d", placed(e.Placement), e.Pushed, e.Found, e.Happiness)
		if len(e.Reasons) > 0 {
			text += " (" + reasons(e.Reasons) + ")"
		}
		return text
	case transfer.Failed:
		return fmt.Sprintf("failed: %v (%s)", e.Err, reasons(e.Reasons))
	}
	panic(fmt.Sprintf("no such effect: %T", e))
}

func placed(p map[grid.ShareNum][]grid.ServerID) (s string) {
	for n := range grid.ShareNum(255) {
		for _, id := range p[n] {
			s += fmt.Sprintf(" %d@%s", n, letter(id))
		}
	}
	return s
}

func TestUploadScripts(t *testing.T) {
	runScripts(t, "upload", func() script { return &uploadScript{} })
}

// downloadScript drives a Download. Verbs:
//
//	new servers=abc needed=2 total=3
//	looked SERVER [SHARE...] | no-answer SERVER
//	want|forget SEGMENT | got|missed SERVER SHARE SEGMENT | bad SERVER SHARE
//	waits SERVER SHARE SEGMENT | after TIME
type downloadScript struct {
	d   *transfer.Download
	now time.Time
}

func (s *downloadScript) line(w []string) []string {
	switch w[0] {
	case "new":
		o := options(w[1:])
		s.now = start
		s.d = transfer.NewDownload(transfer.DownloadSpec{
			Needed: number(o["needed"]), Total: number(o["total"]), Order: serverIDs(o["servers"]),
			Hedge: time.Second, Patience: time.Minute,
		})
		return downloadEffects(s.d.Start(s.now))
	case "waits":
		f := transfer.Fetch{Server: serverID(w[1]), Num: shareNum(w[2]), Segment: number(w[3])}
		return []string{strconv.FormatBool(s.d.Waits(f))}
	case "after":
		s.now = s.now.Add(duration(w[1]))
		return downloadEffects(s.d.Step(s.now, transfer.Clock{}))
	}
	return downloadEffects(s.d.Step(s.now, downloadEvent(w)))
}

func downloadEvent(w []string) transfer.DownloadEvent {
	switch w[0] {
	case "want":
		return transfer.Want{Segment: number(w[1])}
	case "forget":
		return transfer.Forget{Segment: number(w[1])}
	case "no-answer":
		return transfer.Looked{Server: serverID(w[1]), Err: errScripted}
	case "looked":
		l := transfer.Looked{Server: serverID(w[1])}
		for _, n := range w[2:] {
			l.Shares = append(l.Shares, shareNum(n))
		}
		return l
	case "bad":
		return transfer.Bad{Server: serverID(w[1]), Num: shareNum(w[2]), Err: errScripted}
	case "got":
		return transfer.Got{Server: serverID(w[1]), Num: shareNum(w[2]), Segment: number(w[3])}
	case "missed":
		return transfer.Missed{Server: serverID(w[1]), Num: shareNum(w[2]), Segment: number(w[3]), Err: errScripted}
	}
	panic("no such verb: " + w[0])
}

func downloadEffects(effects []transfer.DownloadEffect) (lines []string) {
	for _, e := range effects {
		lines = append(lines, downloadEffect(e))
	}
	return lines
}

func downloadEffect(e transfer.DownloadEffect) string {
	switch e := e.(type) {
	case transfer.Look:
		return "look " + letter(e.Server)
	case transfer.Switch:
		return fmt.Sprintf("switch %d", e.Num)
	case transfer.Fetch:
		return fmt.Sprintf("fetch %s %d %d", letter(e.Server), e.Num, e.Segment)
	case transfer.Decode:
		return fmt.Sprintf("decode %d", e.Segment)
	case transfer.GiveUp:
		return fmt.Sprintf("give up: %d needed, %d found, %d asked (%s)", e.Err.Needed, e.Err.Found, e.Err.Asked, reasons(e.Err.Reasons))
	}
	panic(fmt.Sprintf("no such effect: %T", e))
}

func TestDownloadScripts(t *testing.T) {
	runScripts(t, "download", func() script { return &downloadScript{} })
}

// windowScript drives a Window over blocks of 10 bytes after a head of 5.
// Verbs:
//
//	new limit=2 segments=6 size=55
//	join|leave SERVER SHARE | asked SERVER SHARE HAVE FROM END
//	advance | next | laggards | done | after TIME
type windowScript struct {
	w   *transfer.Window
	now time.Time
}

func (s *windowScript) line(w []string) []string {
	switch w[0] {
	case "new":
		o := options(w[1:])
		s.now = start
		shape := transfer.Shape{DataOffset: 5, BlockSize: 10, Segments: number(o["segments"]), DataSize: uint64(number(o["size"]))}
		s.w = transfer.NewWindow(shape, number(o["limit"]), s.now)
	case "join":
		s.w.Join(offerOf(w))
	case "leave":
		s.w.Leave(offerOf(w))
	case "asked":
		ok := s.w.Asked(offerOf(w), uint64(number(w[3])), uint64(number(w[4])), uint64(number(w[5])))
		return []string{strconv.FormatBool(ok)}
	case "advance":
		return []string{fmt.Sprintf("low %d", s.w.Advance(s.now))}
	case "next":
		return s.next()
	case "laggards":
		return s.laggards()
	case "done":
		return []string{strconv.FormatBool(s.w.Done())}
	case "after":
		s.now = s.now.Add(duration(w[1]))
	default:
		panic("no such verb: " + w[0])
	}
	return nil
}

func offerOf(w []string) transfer.Offer {
	return transfer.Offer{Server: serverID(w[1]), Num: shareNum(w[2])}
}

func (s *windowScript) next() []string {
	i, ok := s.w.Next()
	if !ok {
		return []string{"none"}
	}
	return []string{fmt.Sprintf("segment %d", i)}
}

func (s *windowScript) laggards() []string {
	var all []string
	for _, o := range s.w.Laggards(s.now, 10*time.Second) {
		all = append(all, fmt.Sprintf("%s %d", letter(o.Server), o.Num))
	}
	return all
}

func TestWindowScripts(t *testing.T) {
	runScripts(t, "window", func() script { return &windowScript{} })
}
