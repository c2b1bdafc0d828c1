//! From values to places in a picture.

/// Linear or logarithmic, from a range of values to a range of points.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    values: (f64, f64),
    points: (f64, f64),
    is_log: bool,
}

impl Scale {
    /// From 0 to the round number at or above `most`.
    pub fn linear(most: f64, points: (f64, f64)) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = step_of(most);
        Self { values: (0.0, (most / step).ceil() * step), points, is_log: false }
    }

    /// From the power of ten at or below `least` to the one at or above `most`.
    pub fn log(least: f64, most: f64, points: (f64, f64)) -> Self {
        let (least, most) = (least.max(1e-6), most.max(1e-5));
        let low = least.log10().floor();
        let high = most.log10().ceil().max(low + 1.0);
        Self { values: (10_f64.powf(low), 10_f64.powf(high)), points, is_log: true }
    }

    /// Where `value` is; what is beyond the ends is at them.
    pub fn at(&self, value: f64) -> f64 {
        let place = |value: f64| if self.is_log { value.max(1e-9).log10() } else { value };
        let (from, to) = (place(self.values.0), place(self.values.1));
        let share = ((place(value) - from) / (to - from)).clamp(0.0, 1.0);
        self.points.0 + share * (self.points.1 - self.points.0)
    }

    /// Values to write at the axis.
    pub fn ticks(&self) -> Vec<f64> {
        let (from, to) = self.values;
        let mut ticks = vec![from];
        let step = step_of(to);
        while let Some(last) = ticks.last().copied().filter(|last| *last < to * 0.999) {
            ticks.push(if self.is_log { last * 10.0 } else { last + step });
        }
        ticks
    }
}

/// 1, 2 or 5 times a power of ten, so that there are four to ten steps.
fn step_of(most: f64) -> f64 {
    let power = 10_f64.powf(most.log10().floor());
    let leading = most / power;
    if leading < 2.0 {
        power / 5.0
    } else if leading < 5.0 {
        power / 2.0
    } else {
        power
    }
}

/// Short: `12k`, `0.5`, `3M`.
pub fn short(value: f64) -> String {
    let trimmed = |value: f64, unit: &str| {
        let text = format!("{value:.2}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match value.abs() {
        size if size >= 1e6 => trimmed(value / 1e6, "M"),
        size if size >= 1e3 => trimmed(value / 1e3, "k"),
        _ => trimmed(value, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let scale = Scale::linear(1.13, (0.0, 100.0));
        assert_eq!([0.0, 1.2, 9.0].map(|value| short(scale.at(value))), ["0", "100", "100"]);
        assert_eq!(scale.ticks().len(), 7);
        let scale = Scale::log(0.3, 40.0, (100.0, 0.0));
        assert_eq!(scale.ticks().into_iter().map(short).collect::<Vec<_>>(), ["0.1", "1", "10", "100"]);
        assert!((scale.at(1.0) - 66.7).abs() < 0.1);
        assert_eq!([12_300.0, 2e6, 0.0].map(short), ["12.3k", "2M", "0"]);
    }
}
