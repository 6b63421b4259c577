// Command fnv1a prints the partitions that Goka's producers write keys to: Goka builds them with
// sarama.NewCustomHashPartitioner over fnv.New32a (its DefaultHasher). Run in this directory, with
// Go 1.24 or later:
//
//	go run . < ../../keys.txt > ../../fnv1a.tsv
//
// Goka looks keys up by an arithmetic of its own (View.Get, Processor.Get): it negates before
// the remainder, sarama after. Where the two disagree, stderr says so.
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"log"
	"os"

	"github.com/IBM/sarama"
)

var counts = []int32{1, 3, 8, 12, 100, 1000}

func main() {
	log.SetFlags(0)
	partitioner := sarama.NewCustomHashPartitioner(fnv.New32a)("topic")

	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	fmt.Fprint(out, "key\thash")
	for _, count := range counts {
		fmt.Fprintf(out, "\t%d", count)
	}
	fmt.Fprintln(out)

	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		key, err := hex.DecodeString(in.Text())
		if err != nil {
			log.Fatal(err)
		}
		hasher := fnv.New32a()
		hasher.Write(key)
		hash := hasher.Sum32()

		fmt.Fprintf(out, "%s\t%08x", in.Text(), hash)
		for _, count := range counts {
			message := &sarama.ProducerMessage{Key: sarama.StringEncoder(key)}
			written, err := partitioner.Partition(message, count)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Fprintf(out, "\t%d", written)
			if found := lookedUp(hash, count); found != written {
				log.Printf("%q of %d: written to %d, looked up in %d", key, count, written, found)
			}
		}
		fmt.Fprintln(out)
	}
	if err := in.Err(); err != nil {
		log.Fatal(err)
	}
}

func lookedUp(hash uint32, count int32) int32 {
	signed := int32(hash)
	if signed < 0 {
		signed = -signed
	}
	return signed % count
}
