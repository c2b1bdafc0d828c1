//! Every refusal of this service by name, beside the general ones of [`shared::problem::codes`].

shared::problem_codes! {
    ENTRY_TOKEN_REQUIRED = "entry_token_required", 401, "An entry token is needed here", "Queue at `queue_url`; come back with the entry token.";
    ENTRY_TOKEN_EXPIRED = "entry_token_expired", 401, "The entry token has expired", "Queue again.";
    ENTRY_TOKEN_COMPLETED = "entry_token_completed", 401, "The entry token has done its work", "Queue again to buy more.";
    ENTRY_TOKEN_REVOKED = "entry_token_revoked", 401, "The entry token was taken back", "Queue again.";
    WRONG_QUEUE = "wrong_queue", 403, "The entry token is of another queue", "Queue for this concert.";
    CONCERT_NOT_FOUND = "concert_not_found", 404, "There is no such concert", "List the concerts.";
    SCHEDULE_NOT_FOUND = "schedule_not_found", 404, "There is no such date", "List the concert's schedules.";
    RESERVATION_NOT_FOUND = "reservation_not_found", 404, "You have no such reservation", "List your reservations.";
    PAYMENT_NOT_FOUND = "payment_not_found", 404, "You have no such payment", "Look at your reservations for `payment_id`.";
    SEATS_NOT_READY = "seats_not_ready", 409, "This date has no seats yet", "Come back later.";
    SEATS_EXIST = "seats_exist", 409, "This date has its seats already", "Make another date.";
    SALES_CLOSED = "sales_closed", 409, "This date is not on sale", "See `sales_open_at` and `sales_close_at`.";
    SCHEDULE_CANCELLED = "schedule_cancelled", 409, "This date was cancelled", "What was paid comes back by itself; see the points' history.";
    NOT_CANCELLED = "not_cancelled", 409, "This date was not cancelled", "Cancel it first.";
    UNKNOWN_SEAT = "unknown_seat", 422, "The hall has no such seat", "Take numbers from the seat map.";
    TOO_MANY_SEATS = "too_many_seats", 422, "More seats than one reservation may have", "Take fewer, see `max`.";
    SEAT_LIMIT_REACHED = "seat_limit_reached", 409, "More seats than one user may have of this date", "Take fewer, see `max` and `yours`.";
    SEAT_TAKEN = "seat_taken", 409, "A seat is held or sold", "Take others, see `seat_numbers`.";
    SEATS_UNAVAILABLE = "seats_unavailable", 409, "There is no such choice of seats", "Take fewer, or with `together` false; see `available`.";
    NOT_HELD = "not_held", 409, "The reservation is not held", "Look at its status.";
    HOLD_EXPIRED = "hold_expired", 410, "The hold is past its deadline", "Hold the seats again.";
    EXTENSION_NOT_ALLOWED = "extension_not_allowed", 409, "Holds are not extended here", "Pay before the deadline.";
    ALREADY_EXTENDED = "already_extended", 409, "The hold was extended", "Pay before the deadline.";
    ALREADY_PAID = "already_paid", 409, "The reservation is paid", "See the receipt, `payment_id`.";
    INSUFFICIENT_POINTS = "insufficient_points", 402, "There are too few points", "Charge points, then try again; see `balance` and `amount`.";
    BALANCE_LIMIT_REACHED = "balance_limit_reached", 409, "The account may not have that many points", "Use points first; see `balance` and `max`.";
    INVALID_AMOUNT = "invalid_amount", 422, "The amount is not a whole number in range", "Send a JSON integer from 1 on.";
    ALREADY_REFUNDED = "already_refunded", 409, "Seats of the payment were given back before", "See the receipt; `seat_numbers` says which.";
    SHOW_STARTED = "show_started", 409, "The show has started", "Refunds end when the show starts.";
}
