//! What holds for every number of points, every JSON text and every run of movements.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::model::{CounterAccount, Kind};
use super::money::{Amount, Points};

/// Often at the ends of the range, where arithmetic goes wrong.
fn points() -> impl Strategy<Value = Points> {
    let number = prop_oneof![0..3_i64, 0..10_000_i64, 0..=i64::MAX, i64::MAX - 3..=i64::MAX];
    number.prop_map(|number| Points::new(number).unwrap())
}

fn amount() -> impl Strategy<Value = Amount> {
    let number = prop_oneof![1..1000_i64, 1..=i64::MAX, Just(i64::MAX)];
    number.prop_map(|number| number.to_string().parse().unwrap())
}

/// As the door reads it: what is no JSON is no amount.
fn parsed(json: &str, most: Amount) -> Option<i64> {
    let value: Value = serde_json::from_str(json).ok()?;
    Amount::parse(Some(&value), most).map(|amount| amount.points().get())
}

/// JSON that may look like a whole number and is none.
fn no_integer() -> impl Strategy<Value = String> {
    let digits = 0..1000_u32;
    prop_oneof![
        (digits.clone(), 0..100_u32).prop_map(|(whole, part)| format!("{whole}.{part}")),
        (digits.clone(), 0..30_u32).prop_map(|(whole, power)| format!("{whole}e{power}")),
        (digits.clone(), 0..30_u32).prop_map(|(whole, power)| format!("{whole}E+{power}")),
        "[1-9][0-9]{19,60}",
        "0[0-9]{1,5}",
        digits.clone().prop_map(|whole| format!("\"{whole}\"")),
        digits.clone().prop_map(|whole| format!("[{whole}]")),
        digits.clone().prop_map(|whole| format!("{{\"amount\":{whole}}}")),
        digits.prop_map(|whole| format!("+{whole}")),
        prop::sample::select(vec![
            "-0", "-0.0", "null", "true", "false", "\"\"", "[]", "{}", "NaN", "1 2", ""
        ])
        .prop_map(str::to_owned),
    ]
}

/// An account as it should be: what the statements in `store` do, without a database.
struct Account {
    balance: Points,
    entries: Vec<Entry>,
    /// What was paid and not paid back.
    payments: Vec<Points>,
}

struct Entry {
    seq: usize,
    kind: Kind,
    amount: Points,
    balance_after: Points,
}

impl Entry {
    fn signed(&self) -> i128 {
        let amount = i128::from(self.amount.get());
        if self.kind.is_credit() { amount } else { -amount }
    }
}

impl Account {
    fn with(balance: Points) -> Self {
        let mut account = Self { balance: Points::ZERO, entries: Vec::new(), payments: Vec::new() };
        assert!(account.move_points(Kind::Charge, balance));
        account
    }

    /// A refund is of the payment before, whatever `amount` is. Whether points have moved.
    fn move_points(&mut self, kind: Kind, amount: Points) -> bool {
        let amount = match (kind, self.payments.last()) {
            (Kind::Refund, None) => return false,
            (Kind::Refund, Some(paid)) => *paid,
            _ => amount,
        };
        let after = if kind.is_credit() { self.balance.plus(amount) } else { self.balance.minus(amount) };
        let Some(balance_after) = after else { return false };
        match kind {
            Kind::Payment => self.payments.push(amount),
            Kind::Refund => drop(self.payments.pop()),
            Kind::Charge | Kind::Use => {}
        }
        self.balance = balance_after;
        self.entries.push(Entry { seq: self.entries.len() + 1, kind, amount, balance_after });
        true
    }

    fn sum(&self) -> i128 {
        self.entries.iter().map(Entry::signed).sum()
    }

    fn counter_accounts(&self) -> BTreeMap<&'static str, i128> {
        let mut sums = BTreeMap::new();
        for entry in &self.entries {
            *sums.entry(entry.kind.counter_account().word()).or_default() -= entry.signed();
        }
        sums
    }
}

fn movements() -> impl Strategy<Value = Vec<(Kind, Points)>> {
    prop::collection::vec((prop::sample::select(Kind::ALL.to_vec()), points()), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn points_are_every_number_from_zero_on_and_no_other(number in any::<i64>()) {
        prop_assert_eq!(Points::new(number).map(Points::get), (number >= 0).then_some(number));
    }

    #[test]
    fn arithmetic_is_exact_or_refused(a in points(), b in points()) {
        let exact = |number: i128| i64::try_from(number).ok().filter(|number| *number >= 0);
        let (left, right) = (i128::from(a.get()), i128::from(b.get()));
        prop_assert_eq!(a.plus(b).map(Points::get), exact(left + right));
        prop_assert_eq!(a.minus(b).map(Points::get), exact(left - right));
    }

    #[test]
    fn what_is_added_can_be_taken_again(a in points(), b in points()) {
        if let Some(sum) = a.plus(b) {
            prop_assert_eq!((sum.minus(b), sum.minus(a)), (Some(a), Some(b)));
            prop_assert_eq!(b.plus(a), Some(sum));
        }
        if let Some(rest) = a.minus(b) {
            prop_assert_eq!(rest.plus(b), Some(a));
        }
    }

    #[test]
    fn points_are_written_as_a_json_integer(a in points()) {
        prop_assert_eq!(serde_json::to_string(&a).unwrap(), a.get().to_string());
        prop_assert_eq!(a.to_string(), a.get().to_string());
    }

    #[test]
    fn an_integer_is_an_amount_from_one_to_the_limit(number in any::<i128>(), near in -2..3_i128, most in amount()) {
        let limit = i128::from(most.points().get());
        let small = number % (1 << 70);
        for number in [number, small, near, limit + near, i128::from(i64::MAX) + near, i128::from(i64::MIN) + near] {
            let expected = (1..=limit).contains(&number).then(|| i64::try_from(number).unwrap());
            prop_assert_eq!(parsed(&number.to_string(), most), expected, "{} of {}", number, limit);
        }
    }

    #[test]
    fn what_is_no_integer_is_no_amount(json in no_integer()) {
        prop_assert_eq!(parsed(&json, Amount::MAX), None);
    }

    #[test]
    fn a_setting_is_an_amount_or_none(number in any::<i64>(), text in "\\PC{0,20}") {
        let read = |text: &str| text.parse::<Amount>().ok().map(|amount| amount.to_string());
        prop_assert_eq!(read(&number.to_string()), (number >= 1).then(|| number.to_string()));
        if text.trim_start_matches('+').parse::<i64>().is_err() {
            prop_assert_eq!(read(&text), None);
        }
    }

    #[test]
    fn movements_that_succeed_conserve_the_sum_in_any_order(
        start in points(),
        (first, second) in movements().prop_flat_map(|moves| (Just(moves.clone()), Just(moves).prop_shuffle())),
    ) {
        let run = |moves: &[(Kind, Points)]| {
            let mut account = Account::with(start);
            let succeeded: Vec<bool> = moves.iter().map(|(kind, amount)| account.move_points(*kind, *amount)).collect();
            (account, succeeded.iter().all(|succeeded| *succeeded))
        };
        let ((one, one_whole), (other, other_whole)) = (run(&first), run(&second));
        prop_assert_eq!(one.sum(), i128::from(one.balance.get()));
        prop_assert_eq!(other.sum(), i128::from(other.balance.get()));
        let refunds = first.iter().any(|(kind, _)| *kind == Kind::Refund);
        if one_whole && other_whole && !refunds {
            prop_assert_eq!(one.balance, other.balance);
        }
    }

    #[test]
    fn an_account_is_the_sum_of_its_ledger_and_the_accounts_together_are_zero(moves in movements()) {
        let mut account = Account::with(Points::ZERO);
        for (kind, amount) in moves {
            let before = (account.balance, account.entries.len());
            if !account.move_points(kind, amount) {
                prop_assert_eq!((account.balance, account.entries.len()), before);
            }
        }
        let mut running = 0_i128;
        for (entry, seq) in account.entries.iter().zip(1..) {
            running += entry.signed();
            prop_assert_eq!(entry.seq, seq);
            prop_assert_eq!(i128::from(entry.balance_after.get()), running);
            prop_assert!(running >= 0);
        }
        prop_assert_eq!(i128::from(account.balance.get()), running);
        let counters = account.counter_accounts();
        prop_assert_eq!(running + counters.values().sum::<i128>(), 0);
        let outstanding: i128 = account.payments.iter().map(|paid| i128::from(paid.get())).sum();
        prop_assert_eq!(counters.get(CounterAccount::Revenue.word()).copied().unwrap_or(0), outstanding);
    }
}
