-- A hold may be made longer, once: the header stays what it was but for the deadline.
alter table reservations add column extended boolean not null default false;
comment on column reservations.extended is 'the deadline was moved; it is not moved again';
