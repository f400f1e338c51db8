// Pages with curves: HTML that needs no other file, and SVG in it.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace examples {

/// Points (x, y), in the order in which they are joined.
using line = std::vector<std::pair<double, double>>;

/// One colour: thin lines, and their mean.
struct curve {
  std::string name;
  int colour = 0;
  std::vector<line> lines = {};
  bool has_points = true;  ///< a dot at each point of the mean
};

struct plot {
  std::string title, x_label = {}, x_unit = {}, y_label = {}, y_unit = "bits per byte";
  double x_scale = 1;  ///< values of x are divided by this before they are shown
  std::vector<curve> curves = {};
  bool is_loss = true;  ///< then the steep start is cut off
};

/// Escapes `&`, `<`, `>` and `"` for HTML and SVG.
std::string escaped(std::string_view text);
/// Bytes as text for a page. Visible signs replace bytes that are not text.
std::string readable(std::string_view bytes);
/// A row of a table; `cell` is td or th.
std::string table_row(const char* cell, const std::vector<std::string>& texts);
/// All of a page before its first heading. It defines `colours` colours for curves, readable on light and dark paper:
/// --curve-0 and so on, the dashes --dash-0 and the fill of points --fill-0.
std::string page_head(std::string_view title, std::size_t colours);
/// The sign of a curve in a table, and its name.
std::string swatch(int colour, std::string_view name);
/// The mean of lines with equal numbers of points, else empty.
line mean_line(const std::vector<line>& lines);
std::string svg(const plot& own);

}  // namespace examples
