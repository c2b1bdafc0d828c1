//! The numbers of a model, and the mistakes that can be put into it.

/// Moments are counted from now: 0 is now, below is past, above is to come.
pub type Moment = i8;
/// The most people and replicas of any model; [`Rules`] says how many there are.
pub const PEOPLE: usize = 3;
pub const REPLICAS: usize = 3;

/// A mistake of the store or of its callers. Each must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// None: the design.
    None,
    /// A replica asks how much room there is, and lets in with its next call.
    CountThenAdd,
    /// Each replica counts only what it let in itself.
    RatePerReplica,
    /// The count begins anew every n, instead of looking back n.
    RatePerBucket,
    /// The slot is free one moment before the token ends.
    LeaseEndsEarly,
    /// What was let in and is not claimed yet takes no slot.
    UnclaimedIsFree,
    /// An admission without a claim keeps its slot.
    UnclaimedForEver,
    /// An admission by hand whose answer was lost is put to the store again.
    HandAgain,
    /// A replica looks whether an admission is claimed, and claims it with its next call.
    LookThenClaim,
    /// Each poll of somebody active makes the times of the token anew.
    ClaimAnew,
    /// A completion names the user instead of the admission.
    CompleteByUser,
    /// A join does not look whether the user is in line.
    JoinAgain,
    /// A poll is no sign of life.
    PollUnseen,
    /// The one who polls is let in, whatever the place.
    WhoeverPolls,
    /// After a failover, signs of life are as old as the copy.
    StaleSigns,
    /// After a failover, what the copy shows as let in and not claimed can be claimed.
    UnclaimedStays,
    /// After a failover, the place that the copy has of a user wins over the one that a token proves.
    OlderPlaceWins,
    /// After a failover, a place that is proven is given back as often as it is proven.
    BackAgain,
}

/// What may happen beside joining and polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A person leaves.
    Leave,
    /// A person pays: the entry token is spent, and the queue is told again and again.
    Buy,
    /// An operator lets one person in by hand, once.
    ByHand,
}

/// How it is noticed that the store has forgotten something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Not at all.
    Never,
    /// A replica remembers a higher revision, or a queue token a higher place, than the store.
    Memory,
    /// As `Memory`; and some replica does remember what was forgotten.
    MemorySomewhere,
    /// As `Memory`; and a replica that remembers what was forgotten speaks before all others.
    MemoryFirst,
    /// The store's data names the server that wrote it last, and that is another one.
    Server,
}

/// One failover to a copy of the store that is behind, and what is done about it.
#[derive(Clone, Copy, Debug)]
pub struct Failover {
    /// At most so many changes are forgotten.
    pub forgets: i8,
    pub notice: Notice,
    /// Nobody is let in for so long after it was noticed.
    pub hold: Moment,
    /// Lost places can be proven for so long; 0 = as long as the hold.
    pub proofs: Moment,
    /// So many places are left out; must cover the joins that were forgotten.
    pub gap: u8,
    /// Whether an admission that the store forgot may be given again once its token has ended.
    pub again: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub people: usize,
    pub replicas: usize,
    /// N.
    pub cap: usize,
    /// m in any n.
    pub users: usize,
    pub every: Moment,
    /// Out of line after so long without a poll.
    pub wait: Moment,
    /// Time to claim.
    pub claim: Moment,
    /// Life of an entry token, and for how long after it verifiers with slow clocks may take it.
    pub ttl: Moment,
    pub leeway: Moment,
    /// Whether a join to an empty line may let in at once.
    pub instant: bool,
    pub deeds: &'static [Deed],
    pub failover: Option<Failover>,
    pub mistake: Mistake,
}

impl Rules {
    pub fn has(&self, deed: Deed) -> bool {
        self.deeds.contains(&deed)
    }

    /// Whether replicas differ in nothing but their memory, and people in nothing but their places.
    pub fn are_alike(&self) -> bool {
        !matches!(self.mistake, Mistake::RatePerReplica | Mistake::LookThenClaim)
    }

    pub fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }
}
