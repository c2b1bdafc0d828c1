//! The state that handlers share. Clones are the same state; what the service can do hangs on it.

use std::ops::Deref;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use shared::clock::Clock;
use shared::lifecycle::Lifecycle;
use shared::limits::Limits;
use shared::secrets::SecretsConfig;
use shared::tokens::entry::EntryVerifier;
use shared::tokens::user::UserTokens;
use shared::tokens::{KeySource, PublicKeys};

use crate::admitted::{Door, EndedEntries, Signs};
use crate::books::Books;
use crate::cancellations::Cancellations;
use crate::changes::Changes;
use crate::config::Config;
use crate::db::Db;
use crate::holds::{self, Holds, Rules};
use crate::outbox::Outbox;
use crate::payments::{self, Payments};
use crate::points::{self, Accounts};
use crate::reports::{Stock, Window};
use crate::seat_maps::SeatMaps;

/// See the module.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What an [`App`] consists of.
pub struct Parts {
    pub db: Db,
    pub door: Door,
    /// The queue service's keys, that the door verifies entry tokens with.
    pub entry_keys: Arc<PublicKeys>,
    pub holds: Holds,
    pub points: Arc<Accounts>,
    pub payments: Arc<Payments>,
    pub cancellations: Cancellations,
    pub outbox: Outbox,
    pub seat_maps: SeatMaps,
    pub books: Books,
    /// What the queue service must hear of.
    pub stock: Stock,
    pub changes: Changes,
    /// How the public listener's requests fare.
    pub window: Arc<Window>,
    pub limits: Arc<Limits>,
    pub secrets: SecretsConfig,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// The state as configured; connects to nothing yet.
    pub async fn new(
        config: &Config,
        clock: Clock,
        http: reqwest::Client,
        lifecycle: &Lifecycle,
    ) -> Result<Self, String> {
        let database = &config.database;
        let url = database.database_url.expose_secret();
        let db = Db::new(url, database.database_max_connections, clock.clone())
            .map_err(|error| format!("DATABASE_URL cannot be read: {error}"))?;
        let source = KeySource::parse(&config.entry_jwks_url);
        let entry_keys = Arc::new(PublicKeys::new(source, http.clone(), clock.clone(), lifecycle));
        let ended = EndedEntries::default();
        let door = Door {
            users: UserTokens::new(&config.users, http, clock.clone(), lifecycle).await?,
            entries: EntryVerifier::new(entry_keys.clone(), config.entry_issuer.clone(), clock),
            gated: config.sale.gated.clone(),
            ended: ended.clone(),
            queue_public_url: config.queue_public_url.clone(),
            signs: Signs::default(),
        };
        let outbox = Outbox::new(db.clone(), ended);
        let seat_maps = SeatMaps::new(db.clone());
        let stock = Stock::default();
        let changes = Changes::new(seat_maps.clone(), stock.clone());
        let points = points::Limits {
            charge: config.sale.max_charge,
            spend: config.sale.max_use,
            balance: config.sale.max_balance,
        };
        let points = Arc::new(Accounts::start(db.clone(), points, lifecycle));
        let release_on = config.sale.release_on;
        let rules = Rules {
            ttl_seconds: config.sale.hold_ttl_seconds,
            max_seats: config.sale.max_seats_per_reservation,
            extension_seconds: config.sale.hold_extension_seconds,
            release_on,
        };
        let holds = holds::Tools { db: db.clone(), outbox: outbox.clone(), changes: changes.clone(), rules };
        let payments = payments::Tools {
            db: db.clone(),
            points: points.clone(),
            outbox: outbox.clone(),
            changes: changes.clone(),
            release_on,
        };
        let payments = Arc::new(Payments::start(payments, lifecycle));
        Ok(Self(Arc::new(Parts {
            holds: Holds::start(holds, lifecycle),
            cancellations: Cancellations::new(db.clone(), payments.clone(), changes.clone()),
            payments,
            points,
            outbox,
            seat_maps,
            books: Books::new(Db::wholesale(url, 1, db.clock().clone()).map_err(|error| error.to_string())?),
            stock,
            changes,
            window: Arc::default(),
            door,
            entry_keys,
            limits: Arc::new(Limits::new(&config.limits)),
            secrets: config.secrets.clone(),
            db,
        })))
    }
}
