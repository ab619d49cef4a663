//! CPU per request as stacked bars, user below kernel, one group for each scenario.
//!
//! A download of 64 MiB takes a thousand times the CPU of a small answer, so each group is in units of its better peer.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use super::super::scenario::Than;
use super::{Median, NGINX, Summary};

const COLOURS: [(&str, RGBColor); 3] = [
    ("nginx", RGBColor(0, 150, 57)),
    ("haproxy", RGBColor(70, 110, 180)),
    ("tollgate", RGBColor(214, 84, 30)),
];
const GROUP_PIXELS: usize = 92;
/// Of an axis and its text.
const MARGIN_PIXELS: usize = 110;

pub(super) fn draw(path: &Path, summaries: &[Summary]) -> Result<()> {
    let highest = summaries
        .iter()
        .flat_map(|summary| summary.medians.iter().map(|median| height(summary, median)))
        .fold(1.0, f64::max);
    let width = u32::try_from(MARGIN_PIXELS + GROUP_PIXELS * summaries.len().max(5))?;
    let area = SVGBackend::new(path, (width, 460)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "CPU per request, the better peer's being 1 (dark: user, light: kernel; line: the goal)",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(24)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..summaries.len() as f64, 0.0..highest * 1.3)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc("to the better peer")
        .draw()?;
    for (at, summary) in summaries.iter().enumerate() {
        let at = at as f64;
        chart.draw_series(std::iter::once(Text::new(
            summary.scenario.name,
            (at + 0.12, highest * 1.06),
            ("sans-serif", 14),
        )))?;
        chart.draw_series(bars(summary, at))?;
        chart.draw_series(goal(summary).map(|height| {
            PathElement::new([(at + 0.06, height), (at + 0.92, height)], BLACK.stroke_width(2))
        }))?;
    }
    for (peer, colour) in COLOURS {
        let nothing = Rectangle::new([(0.0, 0.0), (0.0, 0.0)], colour.filled());
        chart
            .draw_series(std::iter::once(nothing))?
            .label(peer)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

fn bars(summary: &Summary, at: f64) -> Vec<Rectangle<(f64, f64)>> {
    let mut bars = Vec::new();
    for (number, (peer, colour)) in COLOURS.iter().enumerate() {
        let Some(median) = summary.median(peer) else {
            continue;
        };
        let left = at + 0.12 + number as f64 * 0.26;
        let mut bar = |low: f64, high: f64, alpha: f64| {
            bars.push(Rectangle::new(
                [(left, low), (left + 0.22, high)],
                colour.mix(alpha).filled(),
            ));
        };
        let whole = height(summary, median);
        let user = whole * median.user_us / median.cpu_us();
        bar(0.0, user, 1.0);
        bar(user, whole, 0.45);
    }
    bars
}

/// CPU by the better peer's.
fn height(summary: &Summary, median: &Median) -> f64 {
    summary
        .median(summary.better)
        .map_or(f64::NAN, |better| median.cpu_us() / better.cpu_us())
}

/// How high tollgate's bar may be.
fn goal(summary: &Summary) -> Option<f64> {
    let goal = summary.scenario.goal?;
    let than = match goal.of {
        Than::BetterPeer => summary.better,
        Than::Nginx => NGINX,
    };
    Some(goal.at_most * height(summary, summary.median(than)?))
}
