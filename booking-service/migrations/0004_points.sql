-- The users' money: a balance that is never negative, and the append-only ledger that explains it.

create table accounts (
    user_id   text    constraint accounts_pkey primary key,
    balance   bigint  not null constraint accounts_balance_not_negative check (balance >= 0),
    last_seq  bigint  not null
) with (fillfactor = 70);

-- Numbered per user, each row with the balance after it. `cause` is what may happen only once: the
-- payment of a debit and of its refund, the entry itself for charges and uses.
create table ledger (
    user_id        text         not null constraint ledger_account_fkey references accounts (user_id),
    seq            bigint       not null,
    entry_id       uuid         not null,
    kind           text         not null,
    amount         bigint       not null,
    balance_after  bigint       not null constraint ledger_balance_not_negative check (balance_after >= 0),
    cause          uuid         not null,
    payment_id     uuid,
    memo           text         constraint ledger_memo_length check (length(memo) <= 200),
    at             timestamptz  not null,
    constraint ledger_pkey primary key (user_id, seq),
    constraint ledger_once unique (user_id, kind, cause),
    constraint ledger_sign check (
        (kind in ('charge', 'refund') and amount >= 0) or (kind in ('use', 'payment') and amount <= 0)
    ),
    constraint ledger_payment_named check ((payment_id is not null) = (kind in ('payment', 'refund')))
);

create function refuse_change() returns trigger language plpgsql
    as $$ begin raise exception '% is append-only', tg_table_name; end $$;
create trigger ledger_append_only before update or delete on ledger
    for each row execute function refuse_change();
