package control

import "github.com/tarn-grid/tarn"

// AuthoritySummary is tarn.AuthoritySummary as JSON: its name among those that
// the client has, the accounts that it is good for, and the servers if it names
// any.
type AuthoritySummary struct {
	Name    string   `json:"name"`
	Keys    []string `json:"keys"`
	Servers []string `json:"servers"`
}

// AuthoritySummaryOf is the answer in its JSON form.
func AuthoritySummaryOf(s tarn.AuthoritySummary) AuthoritySummary {
	keys := make([]string, len(s.Keys))
	for i, k := range s.Keys {
		keys[i] = k.String()
	}
	return AuthoritySummary{Name: s.Name, Keys: keys, Servers: serverTexts(s.Servers)}
}

// removeAuthority asks to forget what has this name.
type removeAuthority struct {
	Name string `json:"name"`
}
