// Rows for training and windows for evaluation: from one text, from documents that are files, and from documents
// between separators.
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <strata/data/rows.hpp>

#include "support/catch.hpp"
#include "support/messages.hpp"

namespace {

using strata::index_type, strata::token, strata::no_token, strata::document_ends;

strata::token_file text_file_of(const std::string& content, const std::string& name) {
  strata::buffer<std::byte> bytes(static_cast<index_type>(content.size()));
  std::memcpy(bytes.data(), content.data(), content.size());
  return {strata::file_reader(std::move(bytes), name), strata::token_format::bytes};
}
strata::corpus corpus_of(const std::vector<std::string>& files, document_ends ends) {
  std::vector<strata::token_file> opened;
  for (const std::string& each : files) opened.push_back(text_file_of(each, "file " + std::to_string(opened.size())));
  return {std::move(opened), {.ends = ends, .separator = '|'}};
}
strata::corpus_part part_of(const std::vector<std::string>& files, document_ends ends) {
  return strata::whole(corpus_of(files, ends));
}
std::string as_text(const std::vector<token>& ids) {
  std::string text;
  for (const token id : ids) text += id == no_token ? '_' : static_cast<char>(id);
  return text;
}
std::map<std::string, int> drawn_rows(const strata::random_rows& rows, std::size_t size, int draws) {
  std::map<std::string, int> found;
  std::vector<token> ids(size);
  for (int n = 0; n < draws; ++n) {
    rows.fill(n / 4, n % 4, ids);
    ++found[as_text(ids)];
  }
  return found;
}
std::set<std::string> names_in(const std::map<std::string, int>& found) {
  std::set<std::string> names;
  for (const auto& each : found) names.insert(each.first);
  return names;
}
std::vector<std::string> windows_of(const strata::corpus_part& part, index_type length) {
  const strata::corpus_windows windows(part, length);
  std::vector<std::string> all;
  std::vector<token> ids(static_cast<std::size_t>(length) + 1);
  for (index_type n = 0; n < windows.count(); ++n) {
    windows.copy(n, ids);
    all.push_back(as_text(ids));
  }
  return all;
}

}  // namespace

TEST_CASE("rows are pieces of one text, all about as likely") {
  const strata::random_rows rows(part_of({"abcd", "ef"}, document_ends::none), 3);
  const auto found = drawn_rows(rows, 4, 3000);
  CHECK(names_in(found) == std::set<std::string>{"abcd", "bcde", "cdef"});
  for (const auto& [name, count] : found) CHECK(std::abs(count - 1000) < 150);
}

TEST_CASE("rows do not leave the file they begin in") {
  const strata::random_rows rows(part_of({"abcd", "ef", "g"}, document_ends::files), 3);
  const auto found = drawn_rows(rows, 3, 3000);
  CHECK(names_in(found) == std::set<std::string>{"abc", "bcd", "ef_"});
  CHECK(std::abs(found.at("ef_") - 1000) < 150);
}

TEST_CASE("rows do not cross a separator") {
  const std::string text = "one|three||fifth document";
  const strata::random_rows rows(part_of({text}, document_ends::separators), 3);
  for (const std::size_t size : {2, 4, 7, 12, 40}) {
    CAPTURE(size);
    const auto found = drawn_rows(rows, size, 3000);
    std::string seen;
    for (const auto& [row, count] : found) {
      CAPTURE(row);
      CHECK(row.size() == size);
      const std::string own = row.substr(0, row.find('_'));
      CHECK(own.size() >= 2);
      CHECK(row.find_first_not_of('_', own.size()) == std::string::npos);
      CHECK(text.find(own) != std::string::npos);
      CHECK(own.substr(1, own.size() - 2).find('|') == std::string::npos);
      // A row that is not full holds its document to both ends.
      if (own.size() < size) {
        CHECK((own.front() == '|' || text.starts_with(own)));
        CHECK((own.back() == '|' || text.ends_with(own)));
      }
    }
    CHECK(names_in(found).size() >= 4);
  }
  const auto found = drawn_rows(rows, 40, 3000);
  CHECK(found.contains("one|" + std::string(36, '_')));
  CHECK(found.contains("|three|" + std::string(33, '_')));
  CHECK(found.contains("||" + std::string(38, '_')));
  CHECK(found.contains("|fifth document" + std::string(25, '_')));
}

TEST_CASE("a row depends on seed, step and row alone") {
  const auto part =
      part_of({std::string(500, 'x') + "abcdefghijklmnopqrstuvwxyz", "other file of text"}, document_ends::files);
  const strata::random_rows one(part, 5), same(part, 5), other(part, 6);
  std::vector<token> a(9), b(9);
  int differ = 0, rows_differ = 0;
  for (index_type step = 0; step < 50; ++step) {
    one.fill(step, 3, a);
    same.fill(step, 3, b);
    CHECK(a == b);
    other.fill(step, 3, b);
    differ += a != b;
    one.fill(step, 4, b);
    rows_differ += a != b;
  }
  CHECK(differ > 3);
  CHECK(rows_differ > 3);
}

TEST_CASE("windows hold every label of a document once") {
  CHECK(windows_of(part_of({"abcdefg"}, document_ends::none), 3) == std::vector<std::string>{"abcd", "defg"});
  CHECK(windows_of(part_of({"abcdefgh"}, document_ends::none), 3) == std::vector<std::string>{"abcd", "defg"});
  CHECK(windows_of(part_of({"abcde", "fg", "h"}, document_ends::files), 3) == std::vector<std::string>{"abcd", "fg__"});
  CHECK(windows_of(part_of({"abcd", "efg"}, document_ends::none), 3) == std::vector<std::string>{"abcd", "defg"});
  CHECK(windows_of(part_of({"ab|cdefgh|"}, document_ends::separators), 3) ==
        std::vector<std::string>{"ab|_", "|cde", "efgh"});
}

TEST_CASE("documents are in one part, wherever they stand") {
  for (const auto ends : {document_ends::files, document_ends::separators}) {
    CAPTURE(ends);
    std::vector<std::string> documents;
    for (int n = 0; n < 400; ++n) documents.push_back("document " + std::to_string(n % 200));
    std::string joined;
    for (const std::string& each : documents) joined += (joined.empty() ? "" : "|") + each;
    const bool files = ends == document_ends::files;
    const strata::corpus all = corpus_of(files ? documents : std::vector{joined}, ends);
    const auto split = strata::split_by_document(all, 0.25);
    const auto documents_in = [&](const strata::corpus_part& part) {
      std::multiset<std::string> found;
      for (const auto& range : part.ranges())
        strata::for_each_document(all, range, [&](const auto& document) {
          std::vector<token> ids(static_cast<std::size_t>(document.size()));
          all.copy(document.first, ids);
          std::string text = as_text(ids);
          std::erase(text, '|');
          found.insert(text);
        });
      return found;
    };
    const auto training = documents_in(split.training), validation = documents_in(split.validation);
    CHECK(training.size() + validation.size() == 400);
    CHECK((validation.size() > 60 && validation.size() < 140));
    int separated = 0;
    // The first and the last lack one of their separators, so their lengths differ from those of their twins.
    for (int n = 1; n < 199; ++n) {
      const std::string own = "document " + std::to_string(n);
      CHECK(training.count(own) + validation.count(own) == 2);
      separated += training.count(own) == 1;
    }
    CHECK(separated == 0);
  }
  const strata::corpus mixed = corpus_of({"ab"}, document_ends::none);
  CHECK(message_of([&] { strata::split_by_document(mixed, 0.5); }) ==
        "a corpus without ends of documents cannot be split by them");
}

TEST_CASE("a mixture takes its sources by weight") {
  strata::mixture mixed(1);
  mixed.add("first", 1, strata::random_rows(part_of({"aaaa"}, document_ends::none), 1));
  mixed.add("second", 3, strata::random_rows(part_of({"bbbb"}, document_ends::none), 1));
  std::map<std::string, int> found;
  std::vector<token> ids(3);
  for (int n = 0; n < 4000; ++n) {
    mixed.fill(n / 8, n % 8, ids);
    ++found[as_text(ids)];
  }
  CHECK(std::abs(found["aaa"] - 1000) < 120);
  CHECK(std::abs(found["bbb"] - 3000) < 120);
  const auto add = [&](const char* name, double weight) {
    return message_of([&] { mixed.add(name, weight, strata::random_rows(part_of({"cc"}, document_ends::none), 1)); });
  };
  CHECK(add("third", 0) == "the weight of 'third' in a mixture must be positive, not 0");
  CHECK(add("third", -1) == "the weight of 'third' in a mixture must be positive, not -1");
  CHECK(add("first", 1) == "a mixture has the source 'first' twice");
}
