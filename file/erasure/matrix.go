package erasure

// GF(2^8) with the polynomial x^8+x^4+x^3+x^2+1 and the generator 2, as in
// zfec's fec.c.
const polynomial = 0x11d

var (
	power     = powers()     // power[i] = 2^i, for i up to twice the order
	logarithm = logarithms() // of everything but 0
)

func powers() (table [510]byte) {
	x := 1
	for i := range 255 {
		table[i], table[i+255] = byte(x), byte(x)
		if x <<= 1; x > 0xff {
			x ^= polynomial
		}
	}
	return table
}

func logarithms() (table [256]int) {
	for i := range 255 {
		table[power[i]] = i
	}
	return table
}

func multiply(a, b byte) byte {
	if a == 0 || b == 0 {
		return 0
	}
	return power[logarithm[a]+logarithm[b]]
}

func inverse(a byte) byte { return power[255-logarithm[a]] }

// addScaled adds factor times source to row.
func addScaled(row, source []byte, factor byte) {
	for i := range row {
		row[i] ^= multiply(factor, source[i])
	}
}

// vandermonde is zfec's matrix before it is made systematic: row 0 is
// 1,0,…,0 and row r is the powers of 2^(r-1).
func vandermonde(rows, columns int) [][]byte {
	v := make([][]byte, rows)
	for r := range v {
		v[r] = make([]byte, columns)
		if r == 0 {
			v[0][0] = 1
			continue
		}
		for c := range v[r] {
			v[r][c] = power[(r-1)*c%255]
		}
	}
	return v
}

// parityRows are the rows k to n-1 of V times the inverse of V's first k
// rows. Gauss-Jordan elimination on the columns of V does that at once: what
// turns the upper k rows into the identity turns the lower ones into these.
// The columns are held as rows here, because rows are what is scaled.
func parityRows(k, n int) [][]byte {
	columns := transpose(vandermonde(n, k))
	for i := range columns {
		pivot := i
		for columns[pivot][i] == 0 {
			pivot++ // the rows of a Vandermonde matrix are independent
		}
		columns[i], columns[pivot] = columns[pivot], columns[i]
		scale(columns[i], inverse(columns[i][i]))
		for j := range columns {
			if j != i && columns[j][i] != 0 {
				addScaled(columns[j], columns[i], columns[j][i])
			}
		}
	}
	return transpose(columns)[k:]
}

func scale(row []byte, factor byte) {
	for i := range row {
		row[i] = multiply(row[i], factor)
	}
}

func transpose(m [][]byte) [][]byte {
	t := make([][]byte, len(m[0]))
	for r := range t {
		t[r] = make([]byte, len(m))
		for c := range m {
			t[r][c] = m[c][r]
		}
	}
	return t
}
