-- The answers to requests that came with an Idempotency-Key: kept for 24 hours, written in the
-- transaction of the success itself. `response` is json, not jsonb: the same bytes go out again.
create table idempotency (
    user_id      text         not null,
    endpoint     text         not null,
    key          text         not null,
    fingerprint  bytea        not null,
    status       smallint     not null,
    response     json         not null,
    created_at   timestamptz  not null,
    constraint idempotency_pkey primary key (user_id, endpoint, key)
);
create index idempotency_by_age on idempotency (created_at);

-- What is known of a key: the remembered answer; or free = false, a request with it is running;
-- or free = true without an answer, and the caller's transaction now holds the key.
--
-- A function because its two reads need two snapshots: what was committed before the lock was won
-- must be seen. The lock is a courtesy, the primary key is the guard.
create function claim_key(of_user text, of_endpoint text, of_key text, offset_ms bigint)
    returns table (free boolean, fingerprint bytea, status smallint, response text)
    language plpgsql volatile
as $$
begin
    for round in 1..2 loop
        return query
            select true, i.fingerprint, i.status, i.response::text
            from idempotency i
            where i.user_id = of_user and i.endpoint = of_endpoint and i.key = of_key
                and i.created_at > db_now(offset_ms) - interval '24 hours';
        if found then
            return;
        end if;
        if round = 1 and not pg_try_advisory_xact_lock(
            hashtextextended(concat_ws(E'\x1f', of_user, of_endpoint, of_key), 0)
        ) then
            return query select false, null::bytea, null::smallint, null::text;
            return;
        end if;
    end loop;
    return query select true, null::bytea, null::smallint, null::text;
end
$$;
