-- The other side of every movement of points.
--
-- A movement is between a user and a counter-account: a charge comes from `funding`, a use goes to
-- `spending`, a payment to `revenue`, and a refund comes back from there. A counter-account has no
-- row of its own, so that no two payments meet at one: what is in it is a sum over the ledger.

alter table ledger add column counter_account text;

-- The entries so far. The table is written anew; no row is updated, and the ledger stays append-only.
alter table ledger
    alter column counter_account type text using
        case kind when 'charge' then 'funding' when 'use' then 'spending' else 'revenue' end,
    alter column counter_account set not null,
    add constraint ledger_counter_account check (
        (kind = 'charge' and counter_account = 'funding')
        or (kind = 'use' and counter_account = 'spending')
        or (kind in ('payment', 'refund') and counter_account = 'revenue')
    ),
    add constraint ledger_cause_named check (kind = 'refund' or cause = coalesce(payment_id, entry_id));

-- Replicas of the version before, which run on while this one is rolled out, name none.
create function name_counter_account() returns trigger language plpgsql
    as $$ begin
        new.counter_account := case new.kind
            when 'charge' then 'funding' when 'use' then 'spending' else 'revenue' end;
        return new;
    end $$;
create trigger ledger_counter_account_named before insert on ledger
    for each row when (new.counter_account is null) execute function name_counter_account();

-- Emptying the table is a change, too, and one that row triggers do not see.
create trigger ledger_never_emptied before truncate on ledger
    for each statement execute function refuse_change();

-- Both sides of every movement: what one account gets, the other gives. `user_id` and `seq` name
-- the movement on both.
create view postings as
    select l.user_id, l.seq, l.entry_id, l.kind, side.account, side.amount, l.payment_id, l.at
    from ledger l
    cross join lateral (
        values ('users', l.amount::numeric), (l.counter_account, -l.amount::numeric)
    ) side (account, amount);

-- What the accounts come to: the users' by their balances, the others by the ledger. It adds up to 0
-- when no point was lost or made.
create view trial_balance as
    select
        (select coalesce(sum(balance), 0) from accounts) as users,
        coalesce(-sum(amount) filter (where counter_account = 'funding'), 0) as funding,
        coalesce(-sum(amount) filter (where counter_account = 'spending'), 0) as spending,
        coalesce(-sum(amount) filter (where counter_account = 'revenue'), 0) as revenue
    from ledger;
