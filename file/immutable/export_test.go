package immutable

// WithVersion2 is l with 64-bit fields, which a small file never needs.
func (l Layout) WithVersion2() Layout {
	l.place(version2)
	return l
}
