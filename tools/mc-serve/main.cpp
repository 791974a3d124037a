#include "mc-serve/run.hpp"

int main(int argc, char** argv) {
  return mc::cli::run_main("mc-serve", "Take in recordings over HTTP, keep them, and sign receipts for whole ones.",
                           argc, argv, mc::tool_serve::run);
}
