package membership

import "github.com/tarn-grid/tarn/lease"

// PutKeys gives a member keys that no account signed for.
func (b *Book) PutKeys(name string, keys []lease.ServerKey) { b.putKeys(b.members[name], keys) }
