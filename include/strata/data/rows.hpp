// Rows of tokens for training and evaluation.
// Shapes: a row for length T is T + 1 ids: inputs are the first T, labels the last T.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <strata/core/error.hpp>
#include <strata/core/random.hpp>
#include <strata/data/corpus.hpp>
#include <strata/data/row_source.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

// As `crop_stream`.
constexpr std::uint64_t range_stream = std::uint64_t{0x72616e67} << 32;   // "rang"
constexpr std::uint64_t source_stream = std::uint64_t{0x736f7572} << 32;  // "sour"

}  // namespace detail

/// Random rows of a part of a corpus. Every token is about equally likely; none crosses the end of a document.
class random_rows {
 public:
  random_rows(corpus_part from, std::uint64_t seed) : from_(std::move(from)), random_(seed) {
    require(!from_.empty(), "there is no text for training: no document has two tokens");
  }

  const corpus_part& from() const { return from_; }

  void fill(index_type step, index_type row, std::span<token> ids) const {
    require(ids.size() >= 2, "a row of ", ids.size(), " tokens has no input and label");
    const auto counter = static_cast<std::uint64_t>(step);
    const auto below = [&](index_type bound, std::uint64_t stream) {
      return static_cast<index_type>(
          random_.below(static_cast<std::uint64_t>(bound), stream | static_cast<std::uint32_t>(row), counter));
    };
    const auto& range =
        from_.ranges().size() == 1 ? from_.ranges().front() : from_.range_of(below(from_.size(), detail::range_stream));
    const auto window = static_cast<index_type>(ids.size());
    const bool separated = from_.of().options().ends == document_ends::separators;
    // A short range is taken as a whole, unless it has documents of its own.
    const index_type starts = range.size() >= window ? range.size() - window + 1 : separated ? range.size() - 1 : 1;
    const index_type first = range.first + below(starts, detail::crop_stream);
    const auto known = static_cast<std::size_t>(std::min(window, range.last - first));
    from_.of().copy(first, ids.first(known));
    std::fill(ids.begin() + static_cast<std::ptrdiff_t>(known), ids.end(), no_token);
    if (separated) keep_one_document(range, first, ids, known);
  }

 private:
  /// Keeps the document of the first token, and fills the row with what stands before it in that document.
  void keep_one_document(const corpus_part::range& range, index_type first, std::span<token> ids,
                         std::size_t known) const {
    const token separator = from_.of().options().separator;
    const auto end_of_known = ids.begin() + static_cast<std::ptrdiff_t>(known);
    auto end = std::find(ids.begin() + 1, end_of_known, separator);
    end += end == end_of_known ? 0 : 1;  // it is the document's last label
    const auto count = end - ids.begin();
    const index_type room = std::min(static_cast<index_type>(ids.size()) - count, first - range.first);
    std::ptrdiff_t before = 0;
    if (ids.front() != separator && room > 0) {
      std::vector<token> earlier(static_cast<std::size_t>(room));
      from_.of().copy(first - room, earlier);
      const auto begin = std::find(earlier.rbegin(), earlier.rend(), separator);
      before = begin == earlier.rend() ? room : begin - earlier.rbegin() + 1;
      std::copy_backward(ids.begin(), end, end + before);
      std::copy(earlier.end() - before, earlier.end(), ids.begin());
    }
    std::fill(end + before, ids.end(), no_token);
  }

  corpus_part from_;
  random_source random_;
};

/// Takes each row from one of several sources, in proportion to their weights.
class mixture {
 public:
  explicit mixture(std::uint64_t seed) : random_(seed) {}

  template <row_source Source>
  void add(std::string name, double weight, Source source) {
    require(weight > 0 && std::isfinite(weight), "the weight of '", name, "' in a mixture must be positive, not ",
            weight);
    require(std::ranges::find(names_, name) == names_.end(), "a mixture has the source '", name, "' twice");
    names_.push_back(std::move(name));
    sums_.push_back((sums_.empty() ? 0.0 : sums_.back()) + weight);
    fill_.push_back(
        [own = std::move(source)](index_type step, index_type row, std::span<token> ids) { own.fill(step, row, ids); });
  }
  void fill(index_type step, index_type row, std::span<token> ids) const {
    require(!fill_.empty(), "a mixture has no source");
    fill_[source_of(step, row)](step, row, ids);
  }
  /// The number of the source that fills a row.
  std::size_t source_of(index_type step, index_type row) const {
    const double drawn = sums_.back() * random_.uniform(detail::source_stream | static_cast<std::uint32_t>(row),
                                                        static_cast<std::uint64_t>(step));
    const auto found = static_cast<std::size_t>(std::ranges::upper_bound(sums_, drawn) - sums_.begin());
    return std::min(found, sums_.size() - 1);
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  random_source random_;
  std::vector<std::string> names_;
  std::vector<double> sums_;  // of the weights up to each
  std::vector<std::function<void(index_type, index_type, std::span<token>)>> fill_;
};

/// The windows of a part of a corpus, one after the other. In a document each begins with the last token of the one
/// before, so every token but a document's first is a label once. An incomplete last window of a document is left out,
/// unless it is the only one: then it ends with `no_token`.
class corpus_windows {
 public:
  corpus_windows(corpus_part from, index_type length) : from_(std::move(from)), length_(length) {
    require(length >= 1, "a sequence length of ", length, " is not positive");
    for (const auto& range : from_.ranges())
      for_each_document(from_.of(), range, [&](const corpus_part::range& document) { add(document); });
    require(count() > 0, "there is no text for evaluation: no document has two tokens");
  }

  index_type count() const { return counts_.back(); }
  void copy(index_type position, std::span<token> ids) const {
    require(position >= 0 && position < count(), "window ", position, " of ", count(), " does not exist");
    require(static_cast<index_type>(ids.size()) == length_ + 1, "a window of ", length_ + 1, " tokens does not fill ",
            ids.size(), " ids");
    const std::size_t at = detail::part_with(counts_, position);
    const auto& document = documents_[at];
    const index_type first = document.first + (position - counts_[at]) * length_;
    const index_type known = std::min(length_ + 1, document.last - first);
    from_.of().copy(first, ids.first(static_cast<std::size_t>(known)));
    std::fill(ids.begin() + known, ids.end(), no_token);
  }

 private:
  void add(const corpus_part::range& document) {
    if (document.size() < 2) return;
    documents_.push_back(document);
    counts_.push_back(counts_.back() + std::max<index_type>(1, (document.size() - 1) / length_));
  }

  corpus_part from_;
  index_type length_;
  std::vector<corpus_part::range> documents_;
  std::vector<index_type> counts_{0};  // sums of the windows of the documents before
};

}  // namespace strata
