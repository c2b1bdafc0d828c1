//! The rules, each as a statement that finds what breaks it. `$1` is the clock's offset, `$2` the
//! most rows to list; every row is one text.

/// Rule and statement.
pub const ALL: &[(&str, &str)] = &[
    ("balance_is_sum_of_ledger", BALANCE),
    ("ledger_runs_without_gap", RUNNING),
    ("ledger_names_its_payment", LEDGER_PAYMENT),
    ("payment_is_debited_once", DEBITED),
    ("refund_is_credited_once", CREDITED),
    ("refund_is_of_its_tickets", REFUND_SEATS),
    ("money_adds_up", MONEY),
    ("revenue_is_what_was_paid", REVENUE),
    ("entry_names_its_counter_account", COUNTER),
    ("answered_movement_is_in_the_ledger", REMEMBERED),
    ("payment_is_of_a_confirmed_reservation", PAYMENT_RESERVATION),
    ("confirmed_reservation_is_paid", CONFIRMED),
    ("ticket_price_adds_up", TICKET_SUM),
    ("sold_seat_has_one_unrefunded_payment", SOLD),
    ("live_ticket_has_its_seat", TICKET_SEAT),
    ("held_seat_has_a_live_reservation", HELD),
    ("live_reservation_has_its_seats", LIVE),
    ("cancelled_date_is_undone_when_settled", SETTLED),
    ("waiting_completion_is_of_a_spent_entry", TOLD),
];

const BALANCE: &str = r"
    select format('user %s: balance %s, ledger %s, last_seq %s, entries %s',
        coalesce(a.user_id, l.user_id), a.balance, l.total, a.last_seq, l.entries)
    from accounts a
    full join (select user_id, sum(amount) as total, count(*) as entries from ledger group by user_id) l
        on l.user_id = a.user_id
    where $1::bigint is not null and (a.balance is distinct from coalesce(l.total, 0)
        or a.last_seq is distinct from coalesce(l.entries, 0))
    limit $2
";

const RUNNING: &str = r"
    select format('user %s, entry %s: %s after %s and %s', user_id, seq, balance_after, before, amount)
    from (
        select user_id, seq, amount, balance_after,
            coalesce(lag(balance_after) over w, 0) as before, coalesce(lag(seq) over w, 0) as last
        from ledger window w as (partition by user_id order by seq)
    ) l
    where $1::bigint is not null and (balance_after <> before::numeric + amount or seq <> last + 1)
    limit $2
";

const LEDGER_PAYMENT: &str = r"
    select format('user %s, entry %s: %s of payment %s', l.user_id, l.seq, l.kind, l.payment_id)
    from ledger l
    left join payments p on p.id = l.payment_id and p.user_id = l.user_id
    left join refunds f on f.id = l.cause and f.payment_id = l.payment_id
    where $1::bigint is not null and l.kind in ('payment', 'refund')
        and (p.id is null or (l.kind = 'payment' and l.cause <> l.payment_id) or (l.kind = 'refund' and f.id is null))
    limit $2
";

const DEBITED: &str = r"
    select format('payment %s: amount %s, debited %s in %s entries', p.id, p.amount, sum(l.amount), count(l.seq))
    from payments p
    left join ledger l on l.user_id = p.user_id and l.kind = 'payment' and l.payment_id = p.id
    where $1::bigint is not null
    group by p.id
    having count(l.seq) <> 1 or sum(l.amount) <> -p.amount
    limit $2
";

const CREDITED: &str = r"
    select format('refund %s: amount %s of %s, credited %s in %s entries',
        f.id, f.amount, p.amount, sum(l.amount), count(l.seq))
    from refunds f
    join payments p on p.id = f.payment_id
    left join ledger l on l.user_id = p.user_id and l.kind = 'refund' and l.cause = f.id
    where $1::bigint is not null
    group by f.id, p.amount, p.user_id
    having count(l.seq) <> 1 or sum(l.amount) <> f.amount or f.user_id <> p.user_id
    limit $2
";

const REFUND_SEATS: &str = r"
    select format('refund %s: %s for seats %s; it ended tickets %s for %s',
        f.id, f.amount, f.seat_numbers, array_agg(k.number order by k.number), sum(k.price))
    from refunds f left join tickets k on k.refund_id = f.id
    where $1::bigint is not null
    group by f.id
    having sum(k.price) is distinct from f.amount
        or array_agg(k.number order by k.number) is distinct from f.seat_numbers
        or bool_or(k.payment_id <> f.payment_id)
    limit $2
";

// The two sides of the ledger are of one row, so they agree by themselves. What is compared is each
// side with what is written elsewhere: the users' with the balances, the other with payments, refunds,
// tickets, and the answers that are remembered.

const MONEY: &str = r"
    select format('users %s, funding %s, spending %s, revenue %s', users, funding, spending, revenue)
    from trial_balance
    where $1::bigint is not null and users + funding + spending + revenue <> 0
    limit $2
";

const REVENUE: &str = r"
    select format('in the ledger %s; paid %s, paid back %s, live tickets %s', revenue, paid, back, live)
    from trial_balance, (select
        (select coalesce(sum(amount), 0) from payments) as paid,
        (select coalesce(sum(amount), 0) from refunds) as back,
        (select coalesce(sum(price), 0) from tickets where live) as live
    ) elsewhere
    where $1::bigint is not null and (revenue <> paid - back or revenue <> live)
    limit $2
";

const COUNTER: &str = r"
    select format('user %s, entry %s: %s of %s against %s', user_id, seq, kind, amount, counter_account)
    from ledger
    where $1::bigint is not null and coalesce((kind, counter_account, sign(amount)) not in (
        ('charge', 'funding', 1), ('use', 'spending', -1), ('payment', 'revenue', -1), ('payment', 'revenue', 0),
        ('refund', 'revenue', 1), ('refund', 'revenue', 0)
    ), true)
    limit $2
";

const REMEMBERED: &str = r"
    select format('user %s was answered %s to %s; in the ledger %s, then %s',
        i.user_id, i.response, i.endpoint, l.amount, l.balance_after)
    from idempotency i
    left join ledger l on l.user_id = i.user_id and l.cause = (i.response->>'entry_id')::uuid
        and l.kind = case i.endpoint when '/v1/points/charges' then 'charge' else 'use' end
    where $1::bigint is not null and i.endpoint in ('/v1/points/charges', '/v1/points/uses')
        and (l.seq is null or abs(l.amount::numeric) <> (i.response->>'amount')::numeric
            or l.balance_after <> (i.response->>'balance')::numeric)
    limit $2
";

const PAYMENT_RESERVATION: &str = r"
    select format('payment %s: its reservation %s is %s, %s of %s seats for %s of %s refunded',
        p.id, r.id, r.status, r.refunded_count, r.seat_count, r.refunded_amount, p.amount)
    from payments p
    join reservations r on r.id = p.reservation_id
    cross join lateral (
        select coalesce(sum(cardinality(seat_numbers)), 0) as seats, coalesce(sum(amount), 0) as points
        from refunds where payment_id = p.id
    ) f
    where $1::bigint is not null
        and (r.status <> case when f.seats < p.seat_count then 'confirmed' else 'refunded' end
            or r.refunded_count <> f.seats or r.refunded_amount <> f.points or f.points > p.amount
            or p.paid_at >= r.expires_at)
    limit $2
";

const CONFIRMED: &str = r"
    select format('reservation %s is %s and has no payment', r.id, r.status)
    from reservations r left join payments p on p.reservation_id = r.id
    where $1::bigint is not null and r.status in ('confirmed', 'refunded') and p.id is null
    limit $2
";

const TICKET_SUM: &str = r"
    select format('payment %s: %s for %s seats; tickets %s for %s, live %s, refunded %s',
        p.id, p.amount, p.seat_count, count(k.number), sum(k.price), count(*) filter (where k.live), r.refunded_count)
    from payments p
    join reservations r on r.id = p.reservation_id
    left join tickets k on k.payment_id = p.id
    where $1::bigint is not null
    group by p.id, r.id
    having count(k.number) <> p.seat_count or sum(k.price) <> p.amount
        or count(*) filter (where k.live) <> p.seat_count - r.refunded_count
        or array_agg(k.number order by k.number) <> r.seat_numbers
    limit $2
";

const SOLD: &str = r"
    select format('seat %s of %s is sold to reservation %s', s.number, s.schedule_id, s.hold_id)
    from seats s
    where $1::bigint is not null and s.state = 'sold' and 1 <> (
        select count(*) from payments p
        join tickets k on k.payment_id = p.id and k.live
        where p.reservation_id = s.hold_id and p.user_id = s.held_by
            and k.schedule_id = s.schedule_id and k.number = s.number
    )
    limit $2
";

const TICKET_SEAT: &str = r"
    select format('ticket %s of payment %s: its seat is %s', k.number, k.payment_id, s.state)
    from tickets k
    join payments p on p.id = k.payment_id
    join seats s on s.schedule_id = k.schedule_id and s.number = k.number
    where $1::bigint is not null and k.live
        and (s.state <> 'sold' or s.hold_id <> p.reservation_id or s.held_by <> p.user_id)
    limit $2
";

const HELD: &str = r"
    select format('seat %s of %s is held for %s', s.number, s.schedule_id, s.hold_id)
    from seats s left join reservations r on r.id = s.hold_id
    where s.state = 'held' and s.held_until > (select db_now($1)) and (
        r.id is null or r.status <> 'held' or r.user_id <> s.held_by or r.schedule_id <> s.schedule_id
        or r.expires_at <> s.held_until or s.number <> all(r.seat_numbers)
    )
    limit $2
";

const LIVE: &str = r"
    select format('reservation %s has %s of %s seats', r.id, count(s.number), r.seat_count - r.refunded_count)
    from reservations r
    left join seats s on s.schedule_id = r.schedule_id and s.number = any(r.seat_numbers)
        and s.hold_id = r.id and s.state = case r.status when 'held' then 'held' else 'sold' end
    where r.status = 'confirmed' or (r.status = 'held' and r.expires_at > (select db_now($1)))
    group by r.id
    having count(s.number) <> r.seat_count - r.refunded_count
    limit $2
";

const SETTLED: &str = r"
    select format('date %s: cancelled at %s, settled at %s, live tickets %s', s.id, s.cancelled_at, c.settled_at,
        (select count(*) from tickets where schedule_id = s.id and live))
    from schedules s full join cancellations c on c.schedule_id = s.id
    where $1::bigint is not null and (
        (s.cancelled_at is null) <> (c.schedule_id is null)
        or (c.settled_at is not null and exists (select 1 from tickets where schedule_id = s.id and live))
    )
    limit $2
";

const TOLD: &str = r"
    select format('completion of %s waits but the token is not spent', o.jti)
    from outbox o left join spent_entries e on e.jti = o.jti
    where $1::bigint is not null and e.jti is null and o.exp > extract(epoch from clock_timestamp()) - 43200
    limit $2
";
