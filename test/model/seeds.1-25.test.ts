import { testSeeds } from "./testSeeds.ts"

testSeeds(1, 25)
