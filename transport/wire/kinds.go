package wire

// newMessage returns an empty message of a kind, nil if there is no such.
func newMessage(k Kind) Message {
	if int(k) >= len(makers) || makers[k] == nil {
		return nil
	}
	return makers[k]()
}

// Kinds lists every kind, in the order of their codes.
func Kinds() []Kind {
	var all []Kind
	for k, make := range makers {
		if make != nil {
			all = append(all, Kind(k))
		}
	}
	return all
}

var makers = [...]func() Message{
	KindError:       func() Message { return new(Error) },
	KindDone:        func() Message { return new(Done) },
	KindHello:       func() Message { return new(Hello) },
	KindLogin:       func() Message { return new(Login) },
	KindResume:      func() Message { return new(Resume) },
	KindLoggedIn:    func() Message { return new(LoggedIn) },
	KindFind:        func() Message { return new(Find) },
	KindFound:       func() Message { return new(Found) },
	KindRead:        func() Message { return new(Read) },
	KindData:        func() Message { return new(Data) },
	KindAllocate:    func() Message { return new(Allocate) },
	KindAllocated:   func() Message { return new(Allocated) },
	KindStored:      func() Message { return new(Stored) },
	KindAbandon:     func() Message { return new(Abandon) },
	KindAddLease:    func() Message { return new(AddLease) },
	KindRenewLease:  func() Message { return new(RenewLease) },
	KindLeased:      func() Message { return new(Leased) },
	KindUsage:       func() Message { return new(Usage) },
	KindUsageReport: func() Message { return new(UsageReport) },
	KindOpenOffer:   func() Message { return new(OpenOffer) },
	KindReadOffer:   func() Message { return new(ReadOffer) },
	KindPublish:     func() Message { return new(Publish) },
	KindSubscribe:   func() Message { return new(Subscribe) },
	KindAnnounce:    func() Message { return new(Announce) },

	KindLoginWithoutKey: func() Message { return new(LoginWithoutKey) },

	KindRenewShares:      func() Message { return new(RenewShares) },
	KindCancelShares:     func() Message { return new(CancelShares) },
	KindSharesDone:       func() Message { return new(SharesDone) },
	KindEnumerate:        func() Message { return new(Enumerate) },
	KindEnumerated:       func() Message { return new(Enumerated) },
	KindUsageBelow:       func() Message { return new(UsageBelow) },
	KindUsageBelowReport: func() Message { return new(UsageBelowReport) },
	KindEnrol:            func() Message { return new(Enrol) },
	KindEnrolled:         func() Message { return new(Enrolled) },
	KindAskServers:       func() Message { return new(AskServers) },
	KindServerList:       func() Message { return new(ServerList) },
	KindFetchCard:        func() Message { return new(FetchCard) },
	KindRefreshCard:      func() Message { return new(RefreshCard) },
	KindCard:             func() Message { return new(Card) },
	KindAskHelp:          func() Message { return new(AskHelp) },
	KindHelpData:         func() Message { return new(HelpData) },
	KindHelped:           func() Message { return new(Helped) },
	KindObserved:         func() Message { return new(Observed) },
	KindPunch:            func() Message { return new(Punch) },
	KindPunching:         func() Message { return new(Punching) },
	KindPassOn:           func() Message { return new(PassOn) },
	KindPassedOn:         func() Message { return new(PassedOn) },
	KindMutate:           func() Message { return new(Mutate) },
	KindMutated:          func() Message { return new(Mutated) },
	KindStage:            func() Message { return new(Stage) },
	KindUnstage:          func() Message { return new(Unstage) },
}

// Kind of an Error.
func (e *Error) Kind() Kind { return KindError }

// Kind of a Done.
func (m *Done) Kind() Kind { return KindDone }

// Kind of a Hello.
func (m *Hello) Kind() Kind { return KindHello }

// Kind of a Login.
func (m *Login) Kind() Kind { return KindLogin }

// Kind of a Resume.
func (m *Resume) Kind() Kind { return KindResume }

// Kind of a LoginWithoutKey.
func (m *LoginWithoutKey) Kind() Kind { return KindLoginWithoutKey }

// Kind of a LoggedIn.
func (m *LoggedIn) Kind() Kind { return KindLoggedIn }

// Kind of a Find.
func (m *Find) Kind() Kind { return KindFind }

// Kind of a Found.
func (m *Found) Kind() Kind { return KindFound }

// Kind of a Read.
func (m *Read) Kind() Kind { return KindRead }

// Kind of a Data.
func (m *Data) Kind() Kind { return KindData }

// Kind of an Allocate.
func (m *Allocate) Kind() Kind { return KindAllocate }

// Kind of an Allocated.
func (m *Allocated) Kind() Kind { return KindAllocated }

// Kind of a Stored.
func (m *Stored) Kind() Kind { return KindStored }

// Kind of an Abandon.
func (m *Abandon) Kind() Kind { return KindAbandon }

// Kind of an AddLease.
func (m *AddLease) Kind() Kind { return KindAddLease }

// Kind of a RenewLease.
func (m *RenewLease) Kind() Kind { return KindRenewLease }

// Kind of a Leased.
func (m *Leased) Kind() Kind { return KindLeased }

// Kind of an Usage.
func (m *Usage) Kind() Kind { return KindUsage }

// Kind of an UsageReport.
func (m *UsageReport) Kind() Kind { return KindUsageReport }

// Kind of an OpenOffer.
func (m *OpenOffer) Kind() Kind { return KindOpenOffer }

// Kind of a ReadOffer.
func (m *ReadOffer) Kind() Kind { return KindReadOffer }

// Kind of a Publish.
func (m *Publish) Kind() Kind { return KindPublish }

// Kind of a Subscribe.
func (m *Subscribe) Kind() Kind { return KindSubscribe }

// Kind of an Announce.
func (m *Announce) Kind() Kind { return KindAnnounce }

// Kind of a RenewShares.
func (m *RenewShares) Kind() Kind { return KindRenewShares }

// Kind of a CancelShares.
func (m *CancelShares) Kind() Kind { return KindCancelShares }

// Kind of a SharesDone.
func (m *SharesDone) Kind() Kind { return KindSharesDone }

// Kind of an Enumerate.
func (m *Enumerate) Kind() Kind { return KindEnumerate }

// Kind of an Enumerated.
func (m *Enumerated) Kind() Kind { return KindEnumerated }

// Kind of an UsageBelow.
func (m *UsageBelow) Kind() Kind { return KindUsageBelow }

// Kind of an UsageBelowReport.
func (m *UsageBelowReport) Kind() Kind { return KindUsageBelowReport }
