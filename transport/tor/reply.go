package tor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of what the control port may answer.
const (
	maxLine  = 8 << 10
	maxReply = 256 << 10
)

var errReply = errors.New("not an answer of Tor's control port")

// reply is an answer of the control port: lines of text without their codes,
// and below a line that announced data, the data's lines, each with its end.
type reply struct {
	code  int
	lines []string
	data  map[int][]string // by index in lines
}

// readReply reads one answer (control-spec 2.3). Events are answers too, with
// codes from 600 on.
func readControlReply(r *bufio.Reader) (reply, error) {
	var p reply
	size := 0
	for {
		line, err := readLine(r)
		if err != nil {
			return reply{}, err
		}
		if size += len(line); size > maxReply {
			return reply{}, fmt.Errorf("%w: more than %d bytes", errReply, maxReply)
		}
		kind, err := p.add(line)
		if err != nil {
			return reply{}, err
		}
		switch kind {
		case ' ':
			return p, nil
		case '+':
			if err := p.readData(r, &size); err != nil {
				return reply{}, err
			}
		}
	}
}

// add takes a line such as "250-version=0.4" and returns what stands after the
// code: - and + announce more.
func (p *reply) add(line string) (kind byte, err error) {
	if len(line) < 4 || strings.IndexByte(" -+", line[3]) < 0 {
		return 0, fmt.Errorf("%w: %.40q", errReply, line)
	}
	code, err := strconv.ParseUint(line[:3], 10, 16)
	if err != nil || len(p.lines) > 0 && int(code) != p.code {
		return 0, fmt.Errorf("%w: %.40q", errReply, line)
	}
	p.code = int(code)
	p.lines = append(p.lines, line[4:])
	return line[3], nil
}

// readData reads up to a line that is a dot alone.
func (p *reply) readData(r *bufio.Reader, size *int) error {
	at := len(p.lines) - 1
	if p.data == nil {
		p.data = map[int][]string{}
	}
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		if line == "." {
			return nil
		}
		if *size += len(line) + 1; *size > maxReply {
			return fmt.Errorf("%w: more than %d bytes", errReply, maxReply)
		}
		p.data[at] = append(p.data[at], strings.TrimPrefix(line, "."))
	}
}

func readLine(r *bufio.Reader) (string, error) {
	b, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("%w: a line of more than %d bytes", errReply, maxLine)
	}
	if errors.Is(err, io.EOF) && len(b) > 0 {
		return "", io.ErrUnexpectedEOF
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(string(b[:len(b)-1]), "\r"), nil
}

// find returns the rest of the line that begins with prefix.
func (p reply) find(prefix string) (rest string, ok bool) {
	for _, line := range p.lines {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return rest, true
		}
	}
	return "", false
}

// values reads what stands in a line as KEY=value and KEY="quoted value".
func values(line string) map[string]string {
	all := map[string]string{}
	for line != "" {
		key, rest, ok := strings.Cut(line, "=")
		if !ok {
			break
		}
		var value string
		if quoted, err := strconv.QuotedPrefix(rest); err == nil && strings.HasPrefix(rest, `"`) {
			value, _ = strconv.Unquote(quoted)
			rest = rest[len(quoted):]
		} else {
			value, rest, _ = strings.Cut(rest, " ")
		}
		all[strings.TrimSpace(key)] = value
		line = strings.TrimLeft(rest, " ")
	}
	return all
}
