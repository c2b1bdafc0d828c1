//! The refusals that this service names, beside the general ones.

shared::problem_codes! {
    QUEUE_NOT_FOUND = "queue_not_found", 404, "There is no such queue", "Check the id.";
    TOKEN_NOT_FOUND = "token_not_found", 404, "The user has no place in this queue", "Join the queue.";
    WRONG_QUEUE = "wrong_queue", 403, "The token belongs to another queue", "Use the token of this queue.";
    ALREADY_IN_QUEUE = "already_in_queue", 409, "The user is in this queue already", "Poll with the token you have.";
    QUEUE_CLOSED = "queue_closed", 503, "The queue is closed", "Do not retry soon.";
    QUEUE_CLOSED_GONE = "queue_closed", 410, "The queue was closed", "The place has ended; do not retry.";
    QUEUE_DRAINING = "queue_draining", 503, "The queue takes nobody any more", "Do not retry soon.";
    TOKEN_EXPIRED = "token_expired", 410, "The place has lapsed", "Join again, at the back.";
    TOKEN_LEFT = "token_left", 410, "The person has left the queue", "Join again, at the back.";
    TOKEN_COMPLETED = "token_completed", 410, "The purchase is done", "Join again to buy more.";
    TOKEN_REPLACED = "token_replaced", 410, "The user has joined anew", "Use the newer token.";
    INVALID_SETTINGS = "invalid_settings", 422, "The settings cannot be", "See `errors`; nothing was changed.";
}
