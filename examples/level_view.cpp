#include "level_view.hpp"

#include <algorithm>
#include <cstddef>

#include <strata/core/error.hpp>

#include "console.hpp"
#include "plot.hpp"

namespace examples {

namespace {

/// How many levels begin a position at each token. A coarser one begins where a finer one does.
std::vector<std::size_t> levels_at(const level_view& own) {
  std::vector<std::size_t> count(own.tokens.size());
  for (const viewed_level& level : own.levels)
    for (const strata::index_type start : level.starts) ++count[static_cast<std::size_t>(start)];
  return count;
}

std::string describe(const viewed_level& level, std::size_t tokens) {
  const auto positions = static_cast<double>(level.starts.size());
  return strata::to_text(level.name, ": ", level.starts.size(), " positions of ",
                         fixed(static_cast<double>(tokens) / positions, 1), " tokens each");
}

}  // namespace

std::string with_bars(const level_view& own) {
  const std::vector<std::size_t> count = levels_at(own);
  std::string text;
  for (std::size_t t = 0; t < own.tokens.size(); ++t) text += std::string(t > 0 ? count[t] : 0, '|') + own.tokens[t];
  return text;
}

std::string with_colours(const level_view& own) {
  constexpr const char *first = "\033[30;48;5;153m", *second = "\033[30;48;5;223m", *bar = "\033[1;97;48;5;124m";
  const std::vector<std::size_t> count = levels_at(own);
  std::string text;
  bool odd = false;
  for (std::size_t t = 0; t < own.tokens.size(); ++t) {
    if (count[t] > 0) odd = !odd;
    if (t > 0 && count[t] > 1) text += bar + std::string(count[t] - 1, '|');
    text += odd ? first : second;
    // A line break ends the colour: else it would fill the line.
    for (const char letter : printable(own.tokens[t]))
      text += letter == '\n' ? std::string("\033[0m\n") + (odd ? first : second) : std::string(1, letter);
  }
  return text + "\033[0m";
}

std::string summary(const level_view& own) {
  std::string text;
  for (const viewed_level& level : own.levels) text += describe(level, own.tokens.size()) + '\n';
  return text;
}

std::string level_page(const std::vector<level_view>& texts, const std::string& title) {
  std::string page = page_head(title, 0);
  page +=
      "<style>\n"
      "pre.levels { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.7; }\n"
      ".levels span { border-radius: .2em; padding: .1em 0; }\n"
      ".levels .first { background: #cfe3fb; color: #111; } .levels .second { background: #fbe3c2; color: #111; }\n"
      ".levels b { color: #c0392b; }\n"
      "@media (prefers-color-scheme: dark) { .levels .first { background: #1d3f66; color: #eee; }\n"
      "  .levels .second { background: #5e4118; color: #eee; } .levels b { color: #ff7b6b; } }\n"
      "</style>\n<h1>" +
      escaped(title) + "</h1>\n";
  for (const level_view& own : texts) {
    page += "<ul>\n";
    for (std::size_t l = 0; l < own.levels.size(); ++l)
      page += "<li>" + escaped(describe(own.levels[l], own.tokens.size())) +
              (l == 0 ? ", in turn in two colours" : ", which begin at " + std::string(l, '|')) + "</li>\n";
    page += "</ul>\n<pre class=\"levels\">";
    const std::vector<std::size_t> count = levels_at(own);
    bool odd = false;
    std::string position;
    const auto end_position = [&] {
      if (!position.empty())
        page += std::string("<span class=\"") + (odd ? "first" : "second") + "\">" + readable(position) + "</span>";
      position.clear();
    };
    for (std::size_t t = 0; t < own.tokens.size(); ++t) {
      if (count[t] > 0) {
        end_position();
        odd = !odd;
        if (t > 0 && count[t] > 1) page += "<b>" + std::string(count[t] - 1, '|') + "</b>";
      }
      position += own.tokens[t];
    }
    end_position();
    page += "</pre>\n";
  }
  return page;
}

}  // namespace examples
