// Package limit measures what the machine allows: the same bytes through the
// same hashes, cipher, code, channel and disk as a file of the grid, with
// nothing in between. Tarn's own figures (integration/bench) are judged by
// these: docs/performance.md has both.
package limit

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/file/erasure"
)

const (
	needed, total = 3, 10
	segment       = 1 << 20
	block         = (segment + needed - 1) / needed
)

func plaintext(b *testing.B) []byte {
	data := make([]byte, segment)
	if _, err := rand.Read(data); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(segment)
	return data
}

// BenchmarkHashUpload is all that is hashed for one segment that is stored:
// the plaintext for its key, the ciphertext twice (segment and whole file),
// every block at the client, and every block again at its server.
func BenchmarkHashUpload(b *testing.B) {
	data := plaintext(b)
	for b.Loop() {
		for range 3 {
			sha256.Sum256(data)
		}
		for range 2 * total {
			sha256.Sum256(data[:block])
		}
	}
}

// BenchmarkHashDownload is what is hashed when it is read: k blocks and the
// segment.
func BenchmarkHashDownload(b *testing.B) {
	data := plaintext(b)
	for b.Loop() {
		for range needed {
			sha256.Sum256(data[:block])
		}
		sha256.Sum256(data)
	}
}

// BenchmarkCipher encrypts a segment once.
func BenchmarkCipher(b *testing.B) {
	data := plaintext(b)
	c, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		cipher.NewCTR(c, make([]byte, 16)).XORKeyStream(data, data)
	}
}

// BenchmarkCode makes ten blocks of three.
func BenchmarkCode(b *testing.B) {
	plaintext(b)
	coder, err := erasure.New(needed, total)
	if err != nil {
		b.Fatal(err)
	}
	blocks := make([][]byte, total)
	for i := range blocks {
		blocks[i] = make([]byte, block)
	}
	for b.Loop() {
		if err := coder.Encode(blocks); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChannelUpload sends ten blocks through TLS 1.3 on loopback, both
// ends in this process; BenchmarkChannelDownload three.
func BenchmarkChannelUpload(b *testing.B)   { channel(b, total) }
func BenchmarkChannelDownload(b *testing.B) { channel(b, needed) }

func channel(b *testing.B, blocks int) {
	data := plaintext(b)[:block]
	client, server := pair(b)
	done := make(chan error)
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{server}, make([]byte, 256<<10))
		done <- err
	}()
	for b.Loop() {
		for range blocks {
			if _, err := client.Write(data); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := client.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

func pair(b *testing.B) (client, server *tls.Conn) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			accepted <- c
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	certificate := selfSigned(b)
	client = tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}) // it is ourselves
	server = tls.Server(<-accepted, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS13})
	b.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func selfSigned(b *testing.B) tls.Certificate {
	b.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, public, private)
	if err != nil {
		b.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// BenchmarkDisk writes ten blocks to ten files, synced every 64 segments, as
// shares of 22 MiB would be.
func BenchmarkDisk(b *testing.B) {
	data := plaintext(b)[:block]
	dir := b.TempDir()
	n := 0
	var files []*os.File
	finish := func() {
		for _, f := range files {
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			f.Close()
			os.Remove(f.Name())
		}
		files = nil
	}
	for b.Loop() {
		if n%64 == 0 {
			finish()
			for range total {
				f, err := os.CreateTemp(dir, filepath.Base("share-*"))
				if err != nil {
					b.Fatal(err)
				}
				files = append(files, f)
			}
		}
		n++
		for _, f := range files {
			if _, err := f.Write(data); err != nil {
				b.Fatal(err)
			}
		}
	}
	finish()
}
