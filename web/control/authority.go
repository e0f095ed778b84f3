package control

import "github.com/tarn-grid/tarn"

// AuthoritySummary is tarn.AuthoritySummary as JSON: the accounts that an
// authority is good for, and the servers if it names any.
type AuthoritySummary struct {
	Keys    []string `json:"keys"`
	Servers []string `json:"servers"`
}

func authoritySummaryOf(s tarn.AuthoritySummary) AuthoritySummary {
	keys := make([]string, len(s.Keys))
	for i, k := range s.Keys {
		keys[i] = k.String()
	}
	return AuthoritySummary{Keys: keys, Servers: serverTexts(s.Servers)}
}
