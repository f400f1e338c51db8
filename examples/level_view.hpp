// Where the positions of coarse levels begin in a text, for a terminal, a file or a page.
#pragma once

#include <string>
#include <vector>

#include <strata/core/view.hpp>

namespace examples {

/// A coarse level, and the tokens at which its positions begin.
struct viewed_level {
  std::string name;
  std::vector<strata::index_type> starts;
};

/// A text by its tokens, and its coarse levels from the finest.
struct level_view {
  std::vector<std::string> tokens;
  std::vector<viewed_level> levels;
};

/// Before each token as many bars as levels that begin a position there.
std::string with_bars(const level_view& own);
/// For a terminal: the positions of the finest coarse level in turn in two colours, and bars for the others.
std::string with_colours(const level_view& own);
/// One line for each level: how many positions it has, and how many tokens each.
std::string summary(const level_view& own);
/// A page that needs no other file.
std::string level_page(const std::vector<level_view>& texts, const std::string& title);

}  // namespace examples
