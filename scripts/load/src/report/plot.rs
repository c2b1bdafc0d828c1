//! Plots as SVG: bars of ratios, curves over percentiles, lines over time.

use super::page::escaped;
use super::scale::{Scale, short};
use crate::tally::Tally;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = WIDTH - 20.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = HEIGHT - 40.0;
const COLOURS: usize = 6;

/// One bar: where it is, how far samples went to both sides, and where it should be.
#[derive(Clone, Debug)]
pub struct Bar {
    pub label: String,
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub target: f64,
    /// Behind the bar.
    pub note: String,
    pub is_ok: bool,
}

/// A line in a plot.
#[derive(Clone, Debug)]
pub struct Series {
    pub label: String,
    pub points: Vec<(f64, f64)>,
}

/// Bars, one below the other, each with its spread (a whisker) and its target (a line).
pub fn bars(bars: &[Bar]) -> String {
    const BAR: f64 = 30.0;
    const MOST: f64 = 3.0;
    let count = f64::from(u32::try_from(bars.len()).unwrap_or_default());
    let (left, right, bottom) = (330.0, WIDTH - 120.0, 10.0 + BAR * count);
    let most = bars.iter().flat_map(|bar| [bar.high, bar.value, bar.target]).fold(1.0, f64::max);
    // One bar that is far off shall not make the others invisible; its figure stands behind it.
    let most = most.min(MOST);
    let x = Scale::linear(most, (left, right));
    let mut svg = open(bottom + 26.0);
    for tick in x.ticks() {
        let at = x.at(tick);
        svg += &rule((at, 4.0), (at, bottom));
        svg += &text((at, bottom + 16.0), "middle", "faint", &short(tick));
    }
    let mut y = 10.0;
    for bar in bars {
        let (end, middle) = (x.at(bar.value), y + BAR / 2.0 - 3.0);
        let colour = if bar.is_ok { "good" } else { "bad" };
        svg += &text((left - 8.0, middle + 4.0), "end", "", &bar.label);
        svg += &block((left, y), (end - left, 20.0), colour, 0.55);
        let (low, high) = (x.at(bar.low), x.at(bar.high));
        svg += &stroke(
            &format!("M{low:.1} {middle:.1}H{high:.1}M{low:.1} {0:.1}v8M{high:.1} {0:.1}v8", middle - 4.0),
            "stroke:var(--ink)",
        );
        let target = x.at(bar.target);
        svg += &stroke(&format!("M{target:.1} {:.1}v26", y - 3.0), "stroke:var(--mark);stroke-width:2.5");
        svg += &text((right + 8.0, middle + 4.0), "start", "", &bar.note);
        y += BAR;
    }
    svg + "</svg>\n"
}

/// Latency over percentiles; both axes logarithmic, so that the tail has room: 99 %, 99.9 %, …
pub fn percentiles(named: &[(&str, &Tally)]) -> String {
    const PERCENTS: [f64; 11] = [0.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];
    let rarity = |percent: f64| 100.0 / (100.0 - percent);
    let series: Vec<Series> = named
        .iter()
        .map(|(label, tally)| {
            let ms = |percent| tally.percentile(percent).as_secs_f64() * 1e3;
            let points = PERCENTS.iter().map(|percent| (rarity(*percent), ms(*percent))).collect();
            Series { label: (*label).to_owned(), points }
        })
        .collect();
    let x = Scale::log(1.0, 10_000.0, (LEFT, RIGHT));
    let marks: Vec<(f64, String)> = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99]
        .map(|percent| (x.at(rarity(percent)), format!("{percent} %")))
        .into();
    drawn(&series, x, &marks, log_axis(&series), "ms")
}

/// Lines over the seconds of a run, from 0 upwards.
pub fn over_time(series: &[Series], unit: &str) -> String {
    let y = Scale::linear(most(series, |point| point.1), (BOTTOM, TOP));
    timed(series, y, unit)
}

/// As [`over_time`], with a logarithmic axis.
pub fn over_time_log(series: &[Series], unit: &str) -> String {
    timed(series, log_axis(series), unit)
}

/// Good and bad answers of each second.
pub fn answers_over_time(tally: &Tally) -> String {
    let line = |label: &str, value: &dyn Fn(&crate::timeline::Second) -> u64| {
        let count = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let points = (0_u32..).zip(tally.timeline().seconds());
        let points = points.map(|(second, found)| (f64::from(second), count(value(found)))).collect();
        Series { label: label.to_owned(), points }
    };
    over_time(&[line("good", &|second| second.good), line("bad", &|second| second.bad)], "answers a second")
}

/// Median and 99th percentile of each second.
pub fn latency_over_time(tally: &Tally) -> String {
    let line = |label: &str, percent: f64| {
        let points = (0_u32..).zip(tally.timeline().seconds());
        let points =
            points.filter_map(|(second, found)| Some((f64::from(second), found.percentile_ms(percent)?)));
        Series { label: label.to_owned(), points: points.collect() }
    };
    over_time_log(&[line("p50", 50.0), line("p99", 99.0)], "ms")
}

fn timed(series: &[Series], y: Scale, unit: &str) -> String {
    let x = Scale::linear(most(series, |point| point.0), (LEFT, RIGHT));
    let marks: Vec<_> =
        x.ticks().into_iter().map(|tick| (x.at(tick), format!("{} s", short(tick)))).collect();
    drawn(series, x, &marks, y, unit)
}

fn most(series: &[Series], of: impl Fn(&(f64, f64)) -> f64) -> f64 {
    series.iter().flat_map(|line| &line.points).map(of).fold(0.0, f64::max)
}

fn log_axis(series: &[Series]) -> Scale {
    let values =
        || series.iter().flat_map(|line| &line.points).map(|point| point.1).filter(|value| *value > 0.0);
    Scale::log(values().fold(1e9, f64::min), values().fold(0.0, f64::max), (BOTTOM, TOP))
}

fn drawn(series: &[Series], x: Scale, marks: &[(f64, String)], y: Scale, unit: &str) -> String {
    let mut svg = open(HEIGHT);
    for tick in y.ticks() {
        let at = y.at(tick);
        svg += &rule((LEFT, at), (RIGHT, at));
        svg += &text((LEFT - 8.0, at + 4.0), "end", "faint", &short(tick));
    }
    for (at, label) in marks {
        svg += &rule((*at, TOP), (*at, BOTTOM));
        svg += &text((*at, BOTTOM + 18.0), "middle", "faint", label);
    }
    svg += &text((LEFT, 14.0), "start", "faint", unit);
    let mut legend = LEFT + 140.0;
    for (number, line) in series.iter().enumerate() {
        let colour = number % COLOURS;
        let points: Vec<String> =
            line.points.iter().map(|(across, up)| format!("{:.1},{:.1}", x.at(*across), y.at(*up))).collect();
        svg += &polyline(&points.join(" "), colour);
        svg += &block((legend, 5.0), (12.0, 12.0), &format!("s{colour}"), 1.0);
        svg += &text((legend + 17.0, 15.0), "start", "", &line.label);
        legend += 40.0 + 7.5 * f64::from(u32::try_from(line.label.chars().count()).unwrap_or_default());
    }
    svg + "</svg>\n"
}

fn open(height: f64) -> String {
    format!("<svg viewBox='0 0 {WIDTH} {height:.0}' role=img>\n")
}

fn rule(from: (f64, f64), to: (f64, f64)) -> String {
    format!("<path class=rule d='M{:.1} {:.1}L{:.1} {:.1}'/>\n", from.0, from.1, to.0, to.1)
}

fn block(at: (f64, f64), size: (f64, f64), colour: &str, opacity: f64) -> String {
    let ((x, y), (width, height)) = (at, size);
    let style = format!("fill:var(--{colour});opacity:{opacity}");
    format!("<rect x={x:.1} y={y:.1} width={width:.1} height={height:.1} style='{style}'/>\n")
}

fn stroke(path: &str, style: &str) -> String {
    format!("<path d='{path}' style='{style}'/>\n")
}

fn polyline(points: &str, colour: usize) -> String {
    format!("<polyline points='{points}' style='fill:none;stroke:var(--s{colour});stroke-width:2'/>\n")
}

fn text(at: (f64, f64), anchor: &str, class: &str, words: &str) -> String {
    let (x, y) = at;
    format!("<text x={x:.1} y={y:.1} text-anchor={anchor} class='{class}'>{}</text>\n", escaped(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let bar = |value: f64| Bar {
            label: "polls & joins".into(),
            value,
            low: value,
            high: value,
            target: 1.0,
            note: String::new(),
            is_ok: true,
        };
        let svg = bars(&[bar(0.5), bar(1.0)]);
        let widths: Vec<f64> =
            svg.split("width=").skip(1).filter_map(|tail| tail.split(' ').next()?.parse().ok()).collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[1] - 2.0 * widths[0]).abs() < 0.2, "{widths:?}");
        assert!(svg.contains("polls &amp; joins") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn a_line_without_points_is_no_reason_to_fail() {
        let empty = Series { label: "none".into(), points: Vec::new() };
        assert!(over_time(std::slice::from_ref(&empty), "x").contains("<polyline points=''"));
        assert!(!over_time_log(&[empty], "x").contains("NaN"));
    }
}
