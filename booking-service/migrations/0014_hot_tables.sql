-- How the tables that a sale writes most are stored and cleaned. No table is written anew.
--
-- Rows that are updated in place find room in their page (HOT): a fill factor, for pages to come. Tables whose rows
-- come and go are vacuumed by count, not by a share of a size that says nothing about them; and statistics follow
-- a table that grows from nothing to a million rows within one evening.

-- A row is locked, by an update, with every hold of a limited date.
alter table buyers set (fillfactor = 50);

alter table seats set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
alter table reservations set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
alter table accounts set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
alter table buyers set (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- Messages and changes of seats: written, read, deleted.
alter table outbox set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);
alter table seat_changes set (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);
